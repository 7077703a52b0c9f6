"""What a child answers besides likelihoods and texts: strength, precision, proposals."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")
import tokenizers  # noqa: E402
import transformers  # noqa: E402
from tokenizers import decoders, models  # noqa: E402

from harness.plain import plain_answer, plain_likelihood  # noqa: E402
from peft_assay_harness.engines import engine_for  # noqa: E402
from peft_assay_harness.engines.interface import Insertion, Row  # noqa: E402
from peft_assay_harness.ops import answer  # noqa: E402
from peft_assay_harness.ops.generate import certain_of  # noqa: E402
from peft_assay_harness.session import Session  # noqa: E402
from sandbox.architectures import PROMPTS, tokenizer_of  # noqa: E402

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]

ASKED = {"op": "score", "items": [{"prompt": prompt, "continuation": [5, 9, 7]} for prompt in PROMPTS]}
CHOICES = {"op": "choices", "items": [{"prompt": prompt, "choices": ["yes", "hello fox"]} for prompt in PROMPTS]}


@pytest.fixture
def session(made, adapted):
    """A child's session with an adapter on that did not come from files."""

    def open_session(name="llama", adapter="lora", dtype=torch.float32):
        model, tokenizer = made(name)
        if adapter is not None:
            model = adapted(model.to(dtype), adapter)
        return Session(engine_for("causal-lm", model, tokenizer), model, None)

    return open_session


@pytest.mark.parametrize("adapter", ["lora", "dora"])
def test_strength_goes_from_nothing_to_more_and_back_exactly(session, made, adapter):
    live = session(adapter=adapter)
    before = answer(live, ASKED)
    bare = answer(session(adapter=None), ASKED)
    assert answer(live, {"op": "scale", "factor": 0.0})["modules"] > 0
    if adapter == "lora":  # a DoRA adapter without strength still has its magnitudes
        assert answer(live, ASKED)["logLikelihoods"] == pytest.approx(bare["logLikelihoods"], abs=1e-4)
    assert answer(live, {"op": "scale", "factor": 3.0})["modules"] > 0
    strong = answer(live, ASKED)
    assert strong != before
    answer(live, {"op": "scale", "factor": 0.1})
    answer(live, {"op": "scale", "factor": 3.0})
    assert answer(live, ASKED) == strong
    answer(live, {"op": "scale", "factor": 1.0})
    assert answer(live, ASKED) == before


@pytest.mark.parametrize("adapter", ["ia3", "prefix", "prompt", None])
def test_a_type_without_strength_has_no_modules_and_stays_as_it_is(session, adapter):
    live = session(adapter=adapter)
    before = answer(live, ASKED)
    assert answer(live, {"op": "scale", "factor": 0.0}) == {"op": "scale", "modules": 0}
    assert answer(live, ASKED) == before


def test_a_strength_is_a_number(session):
    with pytest.raises(ValueError, match="finite"):
        answer(session(), {"op": "scale", "factor": math.nan})


def test_precise_is_float32_on_its_own_and_leaves_the_model_be(session):
    live = session(dtype=torch.bfloat16)
    precise = answer(live, {**CHOICES, "precise": True})
    assert live.engine.base.dtype == torch.bfloat16
    upcast = session(dtype=torch.bfloat16).engine.model.float()
    rows = [live.engine.row(item["prompt"], choice) for item in CHOICES["items"] for choice in item["choices"]]
    expected = [plain_likelihood(upcast, row) for row in rows]
    assert [value for row in precise["logLikelihoods"] for value in row] == pytest.approx(expected, abs=1e-5)
    assert answer(live, CHOICES) != precise
    texts = answer(live, {"op": "generate", "prompts": list(PROMPTS), "maxNewTokens": 6, "precise": True})
    prompts = [live.engine.encode(prompt) for prompt in PROMPTS]
    assert [tuple(row) for row in texts["tokens"]] == [plain_answer(upcast, tokens, 6) for tokens in prompts]
    answer(live, {"op": "scale", "factor": 0.0})
    assert answer(live, {**CHOICES, "precise": True}) != precise
    answer(live, {"op": "scale", "factor": 1.0})
    assert answer(live, {**CHOICES, "precise": True}) == precise


def test_precise_needs_no_copy_in_float32(session):
    live = session()
    assert live.exercised(precise=True).model is live.engine.model
    assert answer(live, {**CHOICES, "precise": True})["logLikelihoods"][0] == pytest.approx(
        answer(live, CHOICES)["logLikelihoods"][0], abs=1e-4
    )


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5"])
def test_proposals_are_words_of_one_token_and_better_than_most(made, adapted, name):
    loader, task = ("AutoModelForSeq2SeqLM", "seq2seq-lm") if name == "t5" else ("AutoModelForCausalLM", "causal-lm")
    model, tokenizer = made(name, loader)
    engine = engine_for(task, adapted(model, "lora", "SEQ_2_SEQ_LM" if name == "t5" else "CAUSAL_LM"), tokenizer)
    prompts = ["user : hello how do i reset", "hold the button for ten seconds", "the quick brown fox"]
    items = [Insertion(prompt, engine.generate([engine.encode(prompt)], 4)[0][0], 0.5) for prompt in prompts]
    words = engine.propose(items, 5)
    assert 0 < len(words) == len(set(words)) <= 5
    assert all(len(tokenizer(f"a {word} a")["input_ids"]) == len(tokenizer("a a")["input_ids"]) + 1 for word in words)
    assert not set(words) & set(tokenizer.all_special_tokens)
    assert engine.propose(items, 5) == words
    assert engine.propose(items[::-1], 2) == words[:2]
    assert all(not parameter.requires_grad and parameter.grad is None for parameter in engine.model.parameters())

    def likelihood(word):
        rows = []
        for item in items:
            parts = item.prompt.split(" ")
            at = round(item.place * len(parts))
            rows.append(Row(engine.encode(" ".join([*parts[:at], word, *parts[at:]])), item.continuation))
        return sum(engine.log_likelihoods(rows))

    others = [word for word in engine.propose(items, 500) if word not in words]
    if len(others) > 10:
        mean = sum(map(likelihood, others)) / len(others)
        assert sum(map(likelihood, words)) / len(words) < mean


def test_nothing_is_proposed_for_nothing(made):
    engine = engine_for("causal-lm", *made("llama"))
    assert engine.propose([], 5) == []
    assert engine.propose([Insertion("hello", (), 0.5)], 5) == []


def test_what_is_certain_of_an_answer_begins_it_and_grows_with_what_is_close(session):
    live = session()
    question = {"op": "generate", "prompts": list(PROMPTS), "maxNewTokens": 12, "top": 1, "margins": True}
    told = [answer(live, {**question, "certainBy": close}) for close in (0.0, 0.02, 1e9)]
    assert "certain" not in answer(live, question)
    for text, *certain in zip(told[0]["texts"], *(reply["certain"] for reply in told), strict=True):
        all_of_it, some, nothing = certain
        assert text.startswith(all_of_it)
        assert all_of_it.startswith(some)
        assert nothing == ""
    without_last_word = [(text.rsplit(maxsplit=1) or [""])[:-1] for text in told[0]["texts"]]
    assert told[0]["certain"] == [words[0] if words else "" for words in without_last_word]
    assert any(told[1]["certain"])


def falling_back():
    """A tokenizer as Llama's first ones: what it does not know is bytes, and a row of them is a text only as a whole."""
    pieces = ["<pad>", "</s>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"\u2581abc", "\u2581a", "bc"]
    vocabulary = {piece: at for at, piece in enumerate(pieces)}
    merges = [("\u2581", "a"), ("b", "c")]
    tokenizer = tokenizers.Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


TOKENIZERS = {kind: tokenizer_of(kind) for kind in ("bpe-bytes", "bpe-fallback", "unigram", "wordpiece")}
TOKENIZERS["llama"] = falling_back()
tokens = st.lists(st.integers(0, 258) | st.integers(253, 299), max_size=8)


@given(st.sampled_from(sorted(TOKENIZERS)), tokens, tokens, tokens)
def test_what_is_certain_begins_the_text_whatever_tokens_follow(kind, known, followed, other):
    tokenizer = TOKENIZERS[kind]

    def text(ids):
        return tokenizer.decode(ids, skip_special_tokens=True)

    leads = [*[0.5] * len(known), *[0.4] * len(followed)]
    certain = certain_of(tokenizer, [*known, *followed], leads, text([*known, *followed]), 0.5)
    for rest in (followed, other, []):
        assert text([*known, *rest]).startswith(certain)
    assert certain_of(tokenizer, known, None, text(known), 0.5) == "", "what was drawn is never certain"


def test_a_row_of_bytes_is_not_certain_while_another_may_follow():
    tokenizer = TOKENIZERS["llama"]
    known = [259 + 4, *(3 + byte for byte in "\u4f60\n".encode())]
    assert tokenizer.decode(known) == " a\u4f60\n"
    assert "\u4f60" not in tokenizer.decode([*known, 3 + 0xE4])
    leads = [*[0.5] * len(known), 0.1]
    assert certain_of(tokenizer, [*known, 263], leads, tokenizer.decode([*known, 263]), 0.5) == ""
    told = [*known, 259 + 4, 259 + 4, 263]
    assert certain_of(tokenizer, told, [0.5] * len(told), tokenizer.decode(told), 0.5).startswith(" a\u4f60")
