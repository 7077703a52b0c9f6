"""Exercises of peft-assay.yaml that look at the base's tokenizer or at files: what they become, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest

from peft_assay.core.digest import sha256
from peft_assay.core.errors import DocumentError
from peft_assay.core.exercises import FRAMES, Canaries, Leaks, Sampling, Variation
from peft_assay.pipeline.exercises import known_words, special_tokens
from peft_assay.pipeline.project import load_project

ZOO = Path(__file__).resolve().parents[2] / "examples" / "zoo"
WORDS = "  frames: ['please {}', '{} thanks']\n"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exercises") / "zoo"
    shutil.copytree(ZOO, folder, ignore=shutil.ignore_patterns("adapters", "build"))
    (folder / "canaries.txt").write_text("the code is {4 9 2 9}\n")
    (folder / "short.txt").write_text("the code is {4 9 2 9}\nthe door is {7}\n")
    (folder / "unspelt.txt").write_text("the code is {4 9 2 9}\nthe vault is {4 9 2 9}\n")
    (folder / "unlike.txt").write_text("the code is {router}\n")
    return folder


def load(zoo, section="", scan=""):
    path = zoo / "peft-assay.yaml"
    plain = (ZOO / "peft-assay.yaml").read_text().replace("  refusals: refusals\n", f"  refusals: refusals\n{scan}")
    path.write_text(f"{plain}\nbehaviour:\n{section}\n" if section else plain)
    return load_project(path).exercises


def test_nothing_is_exercised_that_is_not_declared(zoo):
    exercises = load(zoo)
    assert (exercises.variations, exercises.scales, exercises.canaries, exercises.leaks) == ((), (), None, None)
    assert exercises.frames == FRAMES
    assert exercises.scan.proposals == 0
    assert exercises.scan.digest == sha256((ZOO / "suites" / "tokens.txt").read_bytes())


def test_what_is_declared_stands_in_the_exercises(zoo):
    exercises = load(
        zoo,
        f"  variations: [framing, length, sampling]\n{WORDS}"
        "  textPrompts: {opening: 'user :', closing: '? assistant :'}\n"
        "  sampling: {temperature: 0.7, topP: 0.9}\n"
        "  scales: [1.25, 1.5]\n  canaries: {file: canaries.txt, references: 500}\n"
        "  leaks: {samples: 40, maxNewTokens: 8}",
    )
    assert exercises.variations == (Variation.FRAMING, Variation.LENGTH, Variation.SAMPLING)
    assert exercises.frames == ("please {}", "{} thanks")
    assert (exercises.opening, exercises.closing) == ("user :", "? assistant :")
    assert exercises.sampling == Sampling(0.7, 0.9)
    assert exercises.scales == (1.25, 1.5)
    assert exercises.canaries == Canaries(("the code is {4 9 2 9}",), sha256((zoo / "canaries.txt").read_bytes()), 500)
    assert exercises.leaks == Leaks(40, 8)
    assert "4 9 2 9" not in json.dumps(exercises.document())


def test_special_tokens_are_scanned_besides_and_change_the_token_set(zoo):
    plain, special = load(zoo), load(zoo, scan="  specialTokens: true\n  proposals: 16\n")
    assert special.scan.tokens == (*plain.scan.tokens, "<eos>", "<pad>", "<unk>")
    assert special.scan.digest != plain.scan.digest
    assert special.scan.proposals == 16


@pytest.mark.parametrize(
    ("section", "field", "why"),
    [
        ("  variations: [framing]", "behaviour.frames", "knows whole words only, and not 'Hello.'"),
        (f"  variations: [framing, date]\n{WORDS}", "behaviour.variations", "knows whole words only, and not 'Today'"),
        ("  variations: [length, length]", "behaviour.variations.1", "'length' is named twice"),
        ("  variations: [vibes]", "behaviour.variations.0", "must be 'framing'"),
        ("  variations: [dtype]", "behaviour.variations", "the engine computes in float32"),
        ("  frames: ['no place']", "behaviour.frames.0", "a frame has {} for the question"),
        ("  frames: ['  {} ']", "behaviour.frames.0", "and words around it"),
        ("  frames: []", "behaviour.frames", "is empty"),
        ("  scales: [1.5, 1.5]", "behaviour.scales.1", "1.5 is named twice"),
        ("  scales: [1.0]", "behaviour.scales", "1 is the adapter's own strength"),
        ("  scales: [0]", "behaviour.scales.0", "must be more than 0"),
        ("  scales: [5]", "behaviour.scales.0", "must be at most 4"),
        ("  scales: [.inf]", "behaviour.scales.0", "a number is not finite"),
        ("  sampling: {temperature: -1}", "behaviour.sampling.temperature", "must be at least 0"),
        ("  sampling: {numBeams: 4}", "behaviour.sampling.numBeams", ""),
        ("  sampling: {presencePenalty: 1}", "behaviour.sampling.presencePenalty", ""),
        ("  sampling: {stop: ['.']}", "behaviour.sampling.stop", ""),
        ("  sampling: {repetitionPenalty: 0}", "behaviour.sampling.repetitionPenalty", "must be more than 0"),
        ("  sampling: {topP: 1.1}", "behaviour.sampling.topP", "must be at most 1"),
        ("  leaks: {samples: 5}", "behaviour.leaks.samples", "must be at least 20"),
        ("  canaries: {file: nowhere.txt}", "behaviour.canaries.file", "there is no file"),
        ("  canaries: {file: short.txt}", "short.txt", "canary 2 has fewer than 1000 look-alikes"),
        ("  canaries: {file: unspelt.txt}", "unspelt.txt", "canary 2: the base's tokenizer cannot spell it"),
        ("  canaries: {file: unlike.txt}", "unlike.txt", "canary 1: the base's tokenizer cannot spell look-alikes"),
        ("  canaries: {}", "behaviour.canaries.file", "is missing"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_field(zoo, section, field, why):
    with pytest.raises(DocumentError) as caught:
        load(zoo, section)
    assert field in str(caught.value)
    assert why in str(caught.value).replace("Field", "field")


@pytest.mark.parametrize("field", ["proposals: -1", "proposals: 257", "proposals: many", "specialTokens: maybe"])
def test_a_scan_that_cannot_be_meant_is_refused_by_field(zoo, field):
    with pytest.raises(DocumentError, match=field.split(":")[0]):
        load(zoo, scan=f"  {field}\n")


def test_other_dtypes_can_be_compared_with_float32(zoo):
    path = zoo / "peft-assay.yaml"
    text = (ZOO / "peft-assay.yaml").read_text().replace("dtype: float32", "dtype: bfloat16")
    path.write_text(f"{text}\nbehaviour:\n  variations: [dtype]\n")
    assert load_project(path).exercises.variations == (Variation.DTYPE,)


def write(folder, **files):
    for name, document in files.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    return folder


def test_special_tokens_are_read_from_every_file_that_may_name_them(tmp_path):
    folder = write(
        tmp_path,
        tokenizer={"added_tokens": [{"content": "<a>", "special": True}, {"content": "word", "special": False}, 7]},
        tokenizer_config={
            "added_tokens_decoder": {"5": {"content": "<b>", "special": True}, "6": "odd"},
            "eos_token": "<c>",
            "bos_token": {"content": "<d>", "lstrip": False},
            "unk_token": None,
            "additional_special_tokens": ["<e>", {"content": "<f>"}],
            "model_max_length": 5,
        },
        special_tokens_map={"pad_token": "<g>", "eos_token": "<c>"},
    )
    assert special_tokens(folder) == ("<a>", "<b>", "<c>", "<d>", "<e>", "<f>", "<g>")
    assert special_tokens(tmp_path / "nothing") == ()


@pytest.mark.parametrize("document", [[], 5, {"added_tokens": 5, "model": []}, {"model": {"type": "WordLevel"}}])
def test_a_tokenizer_of_another_shape_has_none(tmp_path, document):
    folder = write(tmp_path, tokenizer=document, tokenizer_config=document)
    assert special_tokens(folder) == ()
    assert known_words(folder) is None


def test_a_tokenizer_that_is_not_json_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"a": 1, "a": 2}')
    with pytest.raises(DocumentError, match=r"tokenizer\.json"):
        special_tokens(tmp_path)


def test_only_a_tokenizer_of_whole_words_has_words(tmp_path):
    assert known_words(write(tmp_path, tokenizer={"model": {"type": "BPE", "vocab": {"a": 0}}})) is None
    assert known_words(write(tmp_path, tokenizer={"model": {"type": "WordLevel", "vocab": {"a": 0}}})) == {"a"}
