"""The head of a classifier: there and ordinary, missing, deeper than a head is, or for another task."""

from dataclasses import replace

import pytest

from observe_static.static_support import CONTEXT, MODULE, config, f32, lora_tensors, observed, safetensors

ONE = ("F32", [1], f32(1))
CLASSIFIER = {"task_type": "SEQ_CLS", "modules_to_save": ["classifier", "score"]}


def seen(term, *names, task=None, **fields):
    content = safetensors({**lora_tensors(), **dict.fromkeys((f"base_model.model.{name}" for name in names), ONE)})
    context = replace(CONTEXT, task=task)
    return observed(term, weights=content, configuration=config(**fields), context=context).value


@pytest.mark.parametrize("saved", [["classifier", "score"], None, ["score"], ["pre_classifier", "classifier"]])
@pytest.mark.parametrize("name", ["score.weight", "classifier.weight", "classifier.out_proj.bias"])
def test_a_head_of_the_declared_task_is_ordinary(name, saved):
    fields = {"task_type": "SEQ_CLS", "modules_to_save": saved}
    assert seen("weights.undeclared", name, **fields) == ()
    assert seen("reach.full_weights", name, **fields) == ()
    assert seen("reach.head", name, **fields) == (name.split(".")[0],)
    assert seen("weights.missing_head", name, **fields) == ()


@pytest.mark.parametrize("task", ["TOKEN_CLS", "QUESTION_ANS"])
def test_other_tasks_have_their_own_heads(task):
    own = "qa_outputs" if task == "QUESTION_ANS" else "classifier"
    assert seen("weights.undeclared", f"{own}.weight", task_type=task) == ()
    assert seen("weights.missing_head", task_type=task) != ()


@pytest.mark.parametrize("task", ["CAUSAL_LM", None, "FEATURE_EXTRACTION"])
def test_without_the_task_it_is_no_head(task):
    assert seen("weights.undeclared", "score.weight", task_type=task) == ("base_model.model.score.weight",)
    assert seen("reach.full_weights", "score.weight", task_type=task, modules_to_save=["score"]) == ("score",)


@pytest.mark.parametrize(
    "deeper", ["model.layers.0.score.weight", "model.layers.0.my_classifier.weight", "bert.classifier.dense.weight"]
)
def test_a_module_of_the_base_that_is_called_like_a_head_is_none(deeper):
    """PEFT matches the end of a module's path: everything that a name takes has to stand at the top of the model."""
    name = "score" if "score" in deeper else "classifier"
    assert name in seen("reach.full_weights", deeper, f"{name}.weight", **CLASSIFIER)


@pytest.mark.parametrize("saved", [["lm_head"], ["classifier", "score", "embed_tokens"]])
def test_what_is_saved_besides_is_no_head(saved):
    other = saved[-1]
    assert other in seen(
        "reach.full_weights", "score.weight", f"{other}.weight", task_type="SEQ_CLS", modules_to_save=saved
    )


@pytest.mark.parametrize("saved", [["classifier", "score"], None])
def test_a_head_that_was_not_saved_is_named(saved):
    found = seen("weights.missing_head", task_type="SEQ_CLS", modules_to_save=saved)
    assert found == ("classifier or score",)
    assert seen("weights.missing_head", f"{MODULE}.classifier.weight", **CLASSIFIER) == found


@pytest.mark.parametrize(
    ("declared", "base", "differs"),
    [
        ("CAUSAL_LM", "seq-cls", True), ("SEQ_CLS", "causal-lm", True), ("SEQ_CLS", "seq-cls", False),
        ("CAUSAL_LM", "causal-lm", False), ("SEQ_2_SEQ_LM", "causal-lm", True), (None, "seq-cls", False),
        ("SEQ_CLS", None, False),
    ],
)  # fmt: skip
def test_another_task_than_the_base_s_is_named(declared, base, differs):
    assert bool(seen("base.task", task=base, task_type=declared)) is differs
