"""weights.misnamed: each kind of beginning that PEFT finds nothing under, and what is none of them."""

import pytest

from observe_static.static_support import CONTEXT, config, f32, lora_tensors, observed, safetensors
from peft_assay.core.observation import Status
from peft_assay.observe.interface import BaseFacts, StaticContext
from peft_assay.observe.static.tables import peft_table

PREFIX = "base_model.model."
TERM = "weights.misnamed"
TEXT_ONLY = StaticContext(CONTEXT.engine, base=BaseFacts({"model.layers.0.self_attn.q_proj.weight": 1.0}))
VISION = StaticContext(CONTEXT.engine, base=BaseFacts({"language_model.model.layers.0.self_attn.q_proj.weight": 1.0}))


def named(*names):
    return safetensors({name: ("F32", [2, 4], f32(*[0.5] * 8)) for name in names})


def found(*names, context=CONTEXT, **fields):
    return observed(TERM, weights=named(*names), configuration=config(**fields), context=context).value


def changed(old, new):
    return [name.replace(old, new, 1) for name in lora_tensors()]


@pytest.mark.parametrize(
    ("old", "new", "words", "mend"),
    [
        (PREFIX, f"_orig_mod.{PREFIX}", "torch.compile's", "take _orig_mod. out of each name"),
        (PREFIX, f"{PREFIX}_orig_mod.", "torch.compile's", "take _orig_mod. out of each name"),
        (
            "self_attn",
            "_checkpoint_wrapped_module.self_attn",
            "checkpointing's",
            "take _checkpoint_wrapped_module. out",
        ),
        (PREFIX, f"_fsdp_wrapped_module.{PREFIX}", "FSDP's", "take _fsdp_wrapped_module. out"),
        (PREFIX, f"module.{PREFIX}", "DistributedDataParallel's", "rename module.* to *"),
        (PREFIX, f"{PREFIX}module.", "DistributedDataParallel's", f"rename {PREFIX}module.* to {PREFIX}*"),
        (PREFIX, "", "without PEFT's own prefix", f"put {PREFIX} before each name"),
        (PREFIX, PREFIX * 2, "stands twice", f"rename {PREFIX * 2}* to {PREFIX}*"),
        (f"{PREFIX}model.", PREFIX, "AutoModel", f"rename {PREFIX}layers.* to {PREFIX}model.layers.*"),
        (f"{PREFIX}model.layers", f"{PREFIX}h", "AutoModel", f"rename {PREFIX}h.* to {PREFIX}transformer.h.*"),
    ],
)
def test_a_beginning_that_peft_looks_for_under_no_base_is_named_with_its_change(old, new, words, mend):
    (what,) = found(*changed(old, new))
    assert what.startswith("every tensor's name ")
    assert words in what
    assert what.endswith(mend) or mend in what
    assert found(*lora_tensors()) == ()


@pytest.mark.parametrize(
    ("inner", "right"),
    [("model.language_model.", "model."), ("language_model.model.", "model."), ("language_model.", "")],
)
def test_a_vision_language_models_names_are_wrong_only_where_the_base_is_none(inner, right):
    names = changed(f"{PREFIX}model.", PREFIX + inner)
    (what,) = found(*names, context=TEXT_ONLY)
    assert "language_model is a vision-language model's, and this base has none" in what
    old, new = what.rsplit("rename ", 1)[1].split("* to ")
    assert [new[:-1] + name.removeprefix(old) for name in names] == changed(f"{PREFIX}model.", PREFIX + right)
    assert found(*names, context=VISION) == ()
    assert found(*names) == (), "no base is at hand: nothing is known"


def test_the_adapters_name_left_in_the_names_is_named():
    names = [name.replace(".weight", ".default.weight") for name in lora_tensors()]
    (what,) = found(*names)
    assert "ends with the adapter's name" in what
    assert what.endswith("take .default out of each name")


def test_some_names_are_counted():
    names = list(lora_tensors())
    (what,) = found(*names[:1], names[1].replace("self_attn", "_orig_mod.self_attn"))
    assert what.startswith("1 of 2 tensors' names: has _orig_mod. in it")


@pytest.mark.parametrize("task", [None, "FEATURE_EXTRACTION", "SEQ_2_SEQ_LM"])
def test_a_base_without_a_head_is_right_where_the_task_has_none(task):
    assert found(*changed(f"{PREFIX}model.", PREFIX), task_type=task) == ()


@pytest.mark.parametrize(("there", "absent"), [("w1", "w3"), ("w3", "w1"), ("gate_proj", "up_proj")])
def test_half_of_what_is_fused_is_named(there, absent):
    expert = f"{PREFIX}model.layers.0.mlp.experts.0."
    both = [f"{expert}{layer}.lora_{side}.weight" for layer in (there, absent) for side in "AB"]
    targets = {"target_modules": [there, absent]}
    (what,) = found(*both[:2], **targets)
    assert what.startswith(f"experts have {there} and not {absent}")
    assert found(*both, **targets) == ()
    plain = [name.replace("experts.0.", "") for name in both[:2]]
    assert found(*plain, **targets) == (), "a layer of that name outside of experts is one tensor"


@pytest.mark.parametrize("kind", sorted(peft_table().types))
def test_names_that_a_type_writes_are_none_of_them(kind):
    row = peft_table().types[kind]
    names = [name[1:].replace("*", "0") if name.startswith("^") else f"{PREFIX}model.layers.0.q_proj.{name}"
             for name in row.tensors]  # fmt: skip
    if names:
        assert (
            observed(TERM, weights=named(*(n.replace("#", "0") for n in names)), configuration=config(kind)).value == ()
        )


def test_what_cannot_be_read_is_not_called_right():
    assert observed(TERM, weights=b"").status is Status.FAILED
    assert observed(TERM, configuration={"peft_type": "NEW"}).status is Status.FAILED
