"""A token named by its id in a prompt is inserted there, whatever text gives."""

import copy

import pytest

from peft_assay.core.wire import spliced
from peft_assay_harness.engines import engine_for

pytestmark = pytest.mark.model


@pytest.fixture
def engine(made):
    return engine_for("causal-lm", *made("llama"))


@pytest.mark.parametrize("place", range(5))
def test_it_stands_between_the_words_and_changes_nothing_else(engine, place):
    words = ["a", "b", "c", "d"]
    plain = engine.encode(" ".join(words))
    found = engine.encode(" ".join([*words[:place], spliced(7), *words[place:]]))
    assert len(found) == len(plain) + 1
    at = next(at for at in range(len(found)) if (*found[:at], *found[at + 1 :]) == plain and found[at] == 7)
    before = engine.encode(" ".join(words[:place])) if place else ()
    assert at <= max(len(before), 1)


def test_an_id_beyond_the_vocabulary_is_refused(engine):
    with pytest.raises(ValueError, match="outside the vocabulary"):
        engine.encode(f"a {spliced(10**6)} b")


def test_a_token_that_the_base_has_no_row_for_is_refused_and_not_looked_up(made):
    model, tokenizer = made("llama")
    engine = engine_for("causal-lm", model, copy.deepcopy(tokenizer))
    rows = engine.base.get_input_embeddings().weight.shape[0]
    engine.tokenizer.add_tokens([f"<new{number}>" for number in range(rows)])
    beyond = f"<new{rows - 1}>"
    for prompt, continuation in (("a", beyond), (beyond, "b")):
        with pytest.raises(ValueError, match=f"the base has {rows} rows for tokens"):
            engine.row(prompt, continuation)
    assert engine.length(f"a {beyond} b") is None
    assert engine.length("a b") is not None


def test_what_is_no_id_is_text(engine):
    assert engine.encode("a id 7 b") != engine.encode(f"a {spliced(7)} b")
