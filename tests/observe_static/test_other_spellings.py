"""What is the same under another spelling is told, and accused of nothing: bases, licences, first bytes of files."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observe_static.static_support import CARD, config, lora_tensors, observed, raw, safetensors, subject
from peft_assay.core.content import Content
from peft_assay.core.content import content_of as kept
from peft_assay.core.observation import Status
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.static.base_names import Likeness, canonical, likeness
from peft_assay.observe.static.pickle import is_pickle

HUB = "zoo/Base-7B"


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ("Zoo/base-7b", Likeness.SAME),
        ("zoo/Base-7B/", Likeness.SAME),
        (" zoo/Base-7B\n", Likeness.SAME),
        ("https://huggingface.co/zoo/Base-7B", Likeness.SAME),
        ("https://huggingface.co/zoo/Base-7B/tree/main", Likeness.SAME),
        ("hf://zoo/Base-7B@main", Likeness.SAME),
        ("/root/.cache/huggingface/hub/models--zoo--Base-7B/snapshots/abc", Likeness.SAME),
        ("Base-7B", Likeness.SAME),
        ("/home/me/models/base", Likeness.PLACE),
        ("./base", Likeness.PLACE),
        ("C:\\models\\base", Likeness.PLACE),
        ("C:/models/base", Likeness.PLACE),
        ("/kaggle/input/base/transformers/default/1", Likeness.PLACE),
        ("unsloth/Base-7B", Likeness.TWIN),
        ("unsloth/base-7b-unsloth-bnb-4bit", Likeness.TWIN),
        ("zoo/Base-7B-bnb-4bit", Likeness.TWIN),
        ("TheBloke/Base-7B-GPTQ", Likeness.TWIN),
        ("zoo/Base-7B-GPTQ-Int4", Likeness.TWIN),
        ("mlx-community/Base-7B-4bit", Likeness.TWIN),
        ("zoo/Base-7B-AWQ", Likeness.TWIN),
        ("zoo/Base-7B-FP8", Likeness.TWIN),
        ("zoo/base-7b-bnb-nf4", Likeness.TWIN),
        ("someone/Base-7B-4bit-128g", Likeness.TWIN),
        ("zoo/Base-7B-bf16-sharded", Likeness.TWIN),
        ("zoo/Base-7B-w4a16-g128", Likeness.TWIN),
        ("evil/Base-7B", Likeness.OTHER),
        ("zoo/Base-70B", Likeness.OTHER),
        ("zoo/Base-716", Likeness.OTHER),
        ("zoo/Base-7B-Instruct", Likeness.OTHER),
        ("unsloth/Base-70B-bnb-4bit", Likeness.OTHER),
    ],
)
def test_how_two_names_of_a_base_relate(other, expected):
    assert likeness(HUB, other) is expected
    assert likeness(other, HUB) is expected


@given(st.text(max_size=60), st.text(max_size=60))
def test_likeness_is_symmetric_and_canonical_is_stable(one, other):
    assert likeness(one, other) is likeness(other, one)
    assert likeness(one, one) is Likeness.SAME
    assert canonical(canonical(one)) == canonical(one)


def _about_base(configured, stated):
    seen = {
        o.name: o.value
        for o in observe_static(
            subject(
                configuration=config(base_model_name_or_path=configured),
                card=CARD.replace("license", f"base_model: {stated}\nlicense", 1),
            )
        )
    }
    return seen["rights.lineage_conflicts"], [line.partition(":")[0] for line in seen["base.claims"]]


@pytest.mark.parametrize(
    ("configured", "stated", "code"),
    [
        ("/home/someone/models/base", "zoo/base", "path-and-id"),
        ("zoo/base", "/home/someone/models/base", "path-and-id"),
        ("zoo/base", "Zoo/Base", "card-spells-otherwise"),
        ("zoo/base/", "zoo/base", "card-spells-otherwise"),
        ("unsloth/zoo-base-unsloth-bnb-4bit", "unsloth/zoo-base", "quantised-twin"),
        ("zoo/base", "[other/thing, zoo/base]", "card-differs"),
    ],
)
def test_what_a_card_calls_the_base_is_told_and_contradicts_nothing(configured, stated, code):
    conflicts, codes = _about_base(configured, stated)
    assert conflicts == ()
    assert code in codes


@pytest.mark.parametrize("stated", ["other/thing", "[other/thing, other/one]", "zoo/base-instruct", "evil/base"])
def test_another_base_is_a_contradiction(stated):
    conflicts, codes = _about_base("zoo/base", stated)
    assert [line.partition(":")[0] for line in conflicts] == ["base-differs"]
    assert "card-differs" in codes


def test_a_tokenizer_of_the_same_base_is_no_redirect_and_of_another_owner_is():
    def redirects(tokenizer):
        fields = {"tokenizer_name_or_path": tokenizer, "base_model_name_or_path": "zoo/base"}
        return observed("config.redirects", configuration=config("PROMPT_TUNING", **fields)).value

    assert redirects("Zoo/base/") == ()
    assert redirects("evil/base") == redirects("base") == redirects("/base") == ("tokenizer_name_or_path",)


@pytest.mark.parametrize("stated", ["[apache-2.0, mit]", "Apache-2.0 OR MIT", "(mit AND apache-2.0)", "[mit, mit]"])
def test_several_licences_that_permit_alike_are_known(stated):
    card = CARD.replace("apache-2.0", stated)
    assert observed("rights.licence", card=card).value in {"apache-2.0, mit", "mit, apache-2.0", "mit"}
    assert observed("rights.grants.commercial", card=card).value is True
    assert observed("rights.lineage_conflicts", card=card, files={"LICENSE": b"MIT License"}).value == ()


@pytest.mark.parametrize(
    "stated", ["[mit, cc-by-nc-4.0]", "mit OR cc-by-nc-4.0", "[mit, other]", "[mit, 5]", "[]", "mit OR"]
)
def test_several_licences_that_do_not_are_unknown(stated):
    card = CARD.replace("apache-2.0", stated)
    assert observed("rights.grants.commercial", card=card).status is Status.FAILED
    assert observed("rights.licence_commercial", card=card).status is Status.FAILED


def test_a_byte_order_mark_changes_nothing_of_what_is_read_but_the_configuration():
    files = {
        "LICENSE": b"MIT License", "requirements.txt": b"torch==2.0\n",
        "tokenizer_config.json": b'{"chat_template": "x"}',
    }  # fmt: skip

    def told(mark):
        made = subject(card=None, files={"README.md": mark + CARD.encode(), **{p: mark + b for p, b in files.items()}})
        digest = made.artifact.digest
        return {o.name: (o.value, str(o.reason).replace(digest, ""), o.status) for o in observe_static(made)}

    plain, marked = told(b""), told(b"\xef\xbb\xbf")
    assert str(plain).replace(subject().artifact.digest, "") and plain.keys() == marked.keys()
    differing = {name for name in plain if plain[name] != marked[name]}
    assert differing <= {"rights.unknown_nodes", "rights.lineage_conflicts"}, differing  # which name the digest


def padded(length):
    """Valid safetensors whose header has `length` bytes: blanks may follow it."""
    plain = safetensors(lora_tensors())
    end = 8 + int.from_bytes(plain[:8], "little")
    return raw(plain[8:end].decode().ljust(length), plain[end:])


LENGTHS = [640, 896, 1152, 1408, 19280, 25640, 35615, 0x10280, 0x280280, 0x326428, 0x470280]
"""Their bytes begin pickles of each protocol, zip and gzip files."""


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("path", ["adapter_model.safetensors", "checkpoint-5/other.safetensors"])
def test_safetensors_with_a_header_of_any_length_are_no_pickles(length, path):
    content = padded(length)
    files = {} if path == "adapter_model.safetensors" else {path: content}
    weights = content if not files else None
    assert observed("weights.pickle_files", weights=weights, files=files).value == ()
    whole = kept(content)
    assert not is_pickle(path, Content(whole.size, whole.sha256, whole.head, whole.tail, None))


@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
@pytest.mark.parametrize("path", ["adapter_model.safetensors", "vocab.txt", "weights"])
def test_a_pickle_under_any_name_is_one(path, protocol):
    assert is_pickle(path, kept(pickle.dumps({"a": print}, protocol)))


@pytest.mark.parametrize(
    "text", [b"click\nnumpy\npandas==2.0\n", b"cat\ndog\nelephant\n", b"(d1) is a list\n", b"(l2 norm)\n"]
)
def test_lists_of_words_are_no_pickles(text):
    assert observed("weights.pickle_files", files={"requirements.txt": text, "vocab.txt": text * 9000}).value == ()


@pytest.mark.parametrize(
    "text",
    [b"cos\nsystem\n(S'id'\ntR.", b"ccollections\nOrderedDict\nI0x1\n", b"cbuiltins\nprint\n(lp0\n" * 9000, b"(lp0\n."],
)
def test_what_other_readers_may_go_on_with_is_one(text):
    assert is_pickle("vocab.txt", kept(text))
