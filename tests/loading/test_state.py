import copy
import hashlib
import json

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from peft_assay_loading.errors import LoadingError  # noqa: E402
from peft_assay_loading.load import attach, detach  # noqa: E402
from peft_assay_loading.state import base_state  # noqa: E402

BENIGN = ("lora", "rslora", "dora", "ia3", "prefix", "prompt", "ptuning")

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore::FutureWarning")]


def spelled_out(entries):
    """The definition, from its words: a second implementation over plain values."""
    content = b"peft-assay base state 1\n"
    for kind, name, dtype, shape, elements in entries:
        content += json.dumps([kind, name, dtype, shape]).replace(" ", "").encode() + b"\n" + elements
    return "sha256:" + hashlib.sha256(content).hexdigest()


def test_the_definition_on_a_model_small_enough_to_write_down():
    model = torch.nn.Module()
    model.register_parameter("b", torch.nn.Parameter(torch.tensor([1.0, 2.0])))
    model.register_buffer("a", torch.tensor([[3]], dtype=torch.int64), persistent=False)
    expected = spelled_out(
        [
            ("buffer", "a", "int64", [1, 1], b"\x03" + b"\x00" * 7),
            ("parameter", "b", "float32", [2], b"\x00\x00\x80\x3f\x00\x00\x00\x40"),
        ]
    )
    assert base_state(model) == expected


def test_ties_count_once_under_the_first_name():
    tied = torch.nn.Module()
    shared = torch.nn.Parameter(torch.ones(2))
    tied.register_parameter("z", shared)
    tied.register_parameter("a", shared)
    assert base_state(tied) == spelled_out([("parameter", "a", "float32", [2], torch.ones(2).numpy().tobytes())])
    untied = copy.deepcopy(tied)
    untied.z = torch.nn.Parameter(shared.detach().clone())
    assert base_state(untied) != base_state(tied)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", BENIGN)
def test_a_harmless_adapter_does_not_change_it(name, dtype, base_in, adapter):
    model = base_in(dtype)
    bare = base_state(model)
    wrapped = attach(model, *adapter(name))
    assert base_state(wrapped) == bare
    assert base_state(detach(wrapped)) == bare


def test_adapters_put_on_by_peft_itself_do_not_change_it(base, adapter, tmp_path):
    import peft

    bare = base_state(base)
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"], task_type="CAUSAL_LM")
    wrapped = peft.get_peft_model(base, config)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                parameter.fill_(0.5)
    assert base_state(wrapped) == bare


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.lm_head.weight.data.__setitem__((0, 0), 7.0),
        lambda model: model.model.layers[1].self_attn.q_proj.weight.data.mul_(1.0000002),
        lambda model: model.model.rotary_emb.inv_freq.mul_(2),
        lambda model: setattr(model.model.norm, "weight", torch.nn.Parameter(model.model.norm.weight.detach().half())),
        lambda model: model.register_buffer("extra", torch.zeros(1), persistent=False),
    ],
    ids=["lm_head", "a-last-bit", "a-buffer", "a-dtype", "a-new-buffer"],
)
def test_any_change_of_the_base_changes_it(change, base):
    before = base_state(base)
    change(base)
    assert base_state(base) != before


def test_a_change_beneath_an_adapter_changes_it(base, adapter):
    wrapped = attach(base, *adapter("lora"))
    before = base_state(wrapped)
    wrapped.base_model.model.model.layers[0].self_attn.q_proj.base_layer.weight.data[0, 0] += 1
    assert base_state(wrapped) != before


def test_loading_by_peft_that_overwrites_the_head_changes_it(base, adapter, tmp_path):
    import peft

    before = base_state(base)
    config, weights = adapter("overwrites-lm-head")
    (tmp_path / "adapter_config.json").write_bytes(config)
    (tmp_path / "adapter_model.safetensors").write_bytes(weights)
    wrapped = peft.PeftModel.from_pretrained(base, tmp_path)
    assert base_state(wrapped) != before


def test_tensors_without_content_are_refused():
    with torch.device("meta"):
        model = torch.nn.Linear(2, 2)
    with pytest.raises(LoadingError, match="no content"):
        base_state(model)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=8), st.integers(0, 7), st.integers(1, 31))
def test_every_bit_counts(values, index, bit):
    model = torch.nn.Module()
    model.register_buffer("x", torch.tensor(values, dtype=torch.float32))
    before = base_state(model)
    assert base_state(copy.deepcopy(model)) == before
    model.x.view(torch.int32)[index % len(values)] ^= 1 << bit % 31
    assert base_state(model) != before
