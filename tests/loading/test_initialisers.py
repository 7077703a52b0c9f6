"""What initialisers do while a saved adapter is loaded by PEFT itself: those that are admitted leave the base as it is."""

import json
import warnings

import pytest
import torch

from peft_assay.observe.static.rewrites import HARMLESS
from peft_assay_loading.config import INITIALISERS
from peft_assay_loading.load import attach
from peft_assay_loading.state import base_state

LORA = ("eva", "gaussian", "lora_ga", "mica", "orthogonal")
OTHERS = {
    "bat": ("MissConfig", {"r": 4}),
    "kaiming_uniform": ("C3AConfig", {"block_size": 32}),
    "lycoris": ("LoKrConfig", {"r": 2}),
    "mini": ("MissConfig", {"r": 4, "mini_r": 2}),
    "uniform": ("TinyLoraConfig", {}),
    "xavier_uniform": ("C3AConfig", {"block_size": 32}),
}


def saved(base, kind, fields, where):
    """An adapter that PEFT made, with values of its own, as it is saved."""
    import peft

    made = getattr(peft, kind)(target_modules=["q_proj"], task_type="CAUSAL_LM", **fields)
    wrapped = peft.get_peft_model(base, made)
    for number, (_, parameter) in enumerate(wrapped.named_parameters()):
        if parameter.requires_grad:
            torch.manual_seed(number)
            parameter.data = torch.randn_like(parameter) / 50
    wrapped.save_pretrained(where)
    return where


def declared(folder, **fields):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_the_two_lists_are_one_and_each_of_it_is_measured_here():
    assert HARMLESS == INITIALISERS == {*LORA, *OTHERS, "zero"}  # zero: the prefix's own, whose values are saved whole


@pytest.mark.filterwarnings("ignore:`init_lora_weights` is 'eva'")
@pytest.mark.parametrize("name", [*LORA, *OTHERS])
def test_peft_leaves_the_base_as_it_is(name, base_in, logits, tmp_path):
    import peft

    kind, fields = OTHERS.get(name, ("LoraConfig", {"r": 4}))
    early = {"init_weights": name} if name in {"bat", "mini"} else {}  # another shape, not another start
    folder = saved(base_in(), kind, {**fields, **early}, tmp_path)
    declared(folder, **{"init_lora_weights" if kind == "LoraConfig" else "init_weights": name})
    base = base_in()
    state = base_state(base)
    expected = peft.PeftModel.from_pretrained(base, folder)
    wanted = logits(expected)
    assert base_state(expected.unload()) == state
    config, weights = (folder / "adapter_config.json").read_bytes(), (folder / "adapter_model.safetensors").read_bytes()
    assert torch.equal(logits(attach(base_in(), config, weights)), wanted)


@pytest.mark.parametrize("name", ["olora", "pissa"])
def test_the_positive_control_rewrites_it(name, base_in, tmp_path):
    import peft

    folder = saved(base_in(), "LoraConfig", {"r": 4}, tmp_path)
    declared(folder, init_lora_weights=name)
    base = base_in()
    state = base_state(base)
    assert base_state(peft.PeftModel.from_pretrained(base, folder).unload()) != state


def test_a_boft_adapter_is_loaded_without_starting_a_compiler(base_in, logits, tmp_path, monkeypatch):
    import peft
    import torch.utils.cpp_extension

    started = []

    def refused(**asked):
        started.append(asked["name"])
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch.utils.cpp_extension, "load", refused)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two for each layer
        folder = saved(base_in(), "BOFTConfig", {"boft_block_size": 4}, tmp_path)
        expected = logits(peft.PeftModel.from_pretrained(base_in(), folder))
    assert started  # the positive control: PEFT by itself asks for a compiler
    started.clear()
    config, weights = (folder / "adapter_config.json").read_bytes(), (folder / "adapter_model.safetensors").read_bytes()
    assert torch.equal(logits(attach(base_in(), config, weights)), expected)
    assert started == []
