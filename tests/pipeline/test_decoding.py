"""How a deployment decodes: as it says, or as its base's files make engines decode; nothing of it is left out silently."""

import json

import pytest

from peft_assay.core.errors import DocumentError
from peft_assay.core.exercises import Sampling
from peft_assay.pipeline.decoding import declared_decoding
from pipeline.suite_projects import load, own_base, write_suite


def declared(tmp_path, generation=None, config=None, behaviour=None):
    base = own_base(tmp_path / "base", **(config or {}))
    if generation is None:
        (base / "generation_config.json").unlink()
    else:
        (base / "generation_config.json").write_text(json.dumps(generation))
    write_suite(tmp_path / "task")
    exercises = load(tmp_path, base=base, **({} if behaviour is None else {"behaviour": behaviour})).exercises
    return exercises.sampling, exercises.unexercised


@pytest.mark.parametrize(
    ("generation", "sampling", "left"),
    [
        ({}, None, ()),
        ({"do_sample": False, "temperature": 0.6, "top_p": 0.9, "typical_p": 0.5}, None, ()),
        ({"do_sample": True}, Sampling(1.0, 1.0, 50), ()),
        ({"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 20}, Sampling(0.6, 0.9, 20), ()),
        ({"do_sample": True, "top_k": 0, "min_p": 0.1}, Sampling(1.0, 1.0, 0, 0.1), ()),
        ({"repetition_penalty": 1.1}, Sampling(0.0, 1.0, 0, 0.0, 1.1), ()),
        ({"repetition_penalty": 1.0, "num_beams": 1, "suppress_tokens": []}, None, ()),
        ({"num_beams": 4}, None, ("num_beams: 4",)),
        ({"do_sample": True, "typical_p": 0.5}, Sampling(1.0, 1.0, 50), ("typical_p: 0.5",)),
        (
            {"no_repeat_ngram_size": 3, "forced_bos_token_id": 0, "bad_words_ids": [[7]]},
            None,
            ("bad_words_ids: [[7]]", "forced_bos_token_id: 0", "no_repeat_ngram_size: 3"),
        ),
        ({"eos_token_id": 2, "pad_token_id": 0, "max_length": 20, "use_cache": True}, None, ()),
    ],
)
def test_a_base_s_own_settings_are_the_deployment_s_until_it_says_otherwise(tmp_path, generation, sampling, left):
    named = tuple(f"{one} (generation_config.json)" for one in left)
    assert declared(tmp_path, generation) == (sampling, named)


def test_what_the_document_says_decides(tmp_path):
    generation = {"do_sample": True, "num_beams": 4}
    assert declared(tmp_path / "a", generation, behaviour={"sampling": {"temperature": 0}}) == (None, ())
    told = {"temperature": 0.7, "topP": 0.9, "topK": 40, "minP": 0.05, "repetitionPenalty": 1.2}
    assert declared(tmp_path / "b", generation, behaviour={"sampling": told}) == (Sampling(0.7, 0.9, 40, 0.05, 1.2), ())
    assert declared(tmp_path / "c", {}, behaviour={"variations": ["sampling"]}) == (Sampling(), ())


def test_an_old_base_says_it_in_its_configuration(tmp_path):
    sampling, left = declared(tmp_path, None, config={"do_sample": True, "top_k": 10, "num_beams": 2})
    assert (sampling, left) == (Sampling(1.0, 1.0, 10), ("num_beams: 2 (config.json)",))


@pytest.mark.parametrize("value", ["hot", True, -1, [1], {"a": 1}, 1e300])
def test_a_value_that_is_no_number_is_refused_by_name(value):
    with pytest.raises(DocumentError) as caught:
        declared_decoding(None, {"do_sample": True, "temperature": value}, where="generation_config.json")
    assert "temperature: expected a number from 0 to 1e+06, found" in str(caught.value)
