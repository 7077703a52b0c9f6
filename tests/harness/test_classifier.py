"""Sequence classifiers, and bases that are not what they are said to be."""

import argparse

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

from peft_assay_harness import prepare  # noqa: E402
from peft_assay_harness.engines import engine_for  # noqa: E402
from peft_assay_harness.engines.interface import Unanswerable  # noqa: E402
from peft_assay_harness.identity import Refused  # noqa: E402
from peft_assay_harness.ops import answer  # noqa: E402
from peft_assay_harness.session import Session  # noqa: E402
from sandbox.architectures import PROMPTS, adapter_of, build  # noqa: E402

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]


def plain(model, tokenizer):
    for prompt in PROMPTS:
        inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            yield model(**inputs).logits[0].tolist()


@pytest.mark.parametrize("name", ["bert", "llama", "gpt2"])
@pytest.mark.parametrize("adapter", [None, "lora", "prompt", "prefix"])
def test_labels_are_those_of_each_text_alone(made, adapted, name, adapter):
    model, tokenizer = made(name, "AutoModelForSequenceClassification")
    if adapter is not None:
        model = adapted(model, adapter, "SEQ_CLS")
    engine = engine_for("seq-cls", model, tokenizer)
    expected = list(plain(model, tokenizer))
    for prompts in (list(PROMPTS), list(PROMPTS[:1]), list(PROMPTS[:2] * 2)):
        for found, wanted in zip(engine.classify(prompts), [expected[PROMPTS.index(p)] for p in prompts], strict=True):
            assert found == pytest.approx(wanted, abs=1e-4)
    assert len(expected[0]) == 3
    for found, wanted in zip(engine.precise().classify(list(PROMPTS)), expected, strict=True):
        assert found == pytest.approx(wanted, abs=1e-5)


def test_a_classifier_says_nothing_else(made):
    engine = engine_for("seq-cls", *made("bert", "AutoModelForSequenceClassification"))
    session = Session(engine, engine.model, None)
    for request in (
        {"op": "generate", "prompts": ["hello"], "maxNewTokens": 2},
        {"op": "choices", "items": [{"prompt": "hello", "choices": ["a"]}]},
        {"op": "propose", "items": [{"prompt": "hello", "continuation": [5], "place": 0.5}], "top": 1},
    ):
        with pytest.raises(Unanswerable, match="labels"):
            answer(session, request)
    assert answer(session, {"op": "measure", "prompts": ["hello", "a " * 400]})["longest"] == 256


def load(folder, task):
    return prepare._engine(argparse.Namespace(base=str(folder / "base"), dtype="float32", task=task, fresh=True))


def test_a_base_without_a_classification_head_is_refused_and_not_given_a_random_one(tmp_path):
    with pytest.raises(Refused, match=r"as a sequence classifier: its files lack .*classifier\.bias.*would be random"):
        load(build("bert", tmp_path), "seq-cls")


def test_a_head_of_another_kind_is_refused(tmp_path):
    with pytest.raises(Refused, match="cannot be loaded"):
        load(build("t5", tmp_path), "causal-lm")


def test_an_adapter_for_another_kind_of_base_does_not_load(made, tmp_path):
    files = adapter_of(build("bert-decoder", tmp_path))
    engine = engine_for("seq-cls", *made("bert", "AutoModelForSequenceClassification"))
    reply = answer(Session(engine, engine.model, files), {"op": "load"})
    assert (reply["loaded"], "task_type CAUSAL_LM" in reply["problem"]) == (False, True)
