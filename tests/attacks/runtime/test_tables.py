"""The dictionaries of a module are replaced as a whole: a check of the old ones sees no change.

Each exhibit has its control: without the guard the model answers otherwise, and the old dictionaries are unchanged.
"""

from collections import OrderedDict
from datetime import timedelta

import pytest

from attacks.runtime.test_let_in import go, inner, layer, logits, refused
from runtime.conftest import ZOO

pytestmark = [pytest.mark.model, pytest.mark.sandbox]


def _hooks(model) -> None:
    inner(model).mlp._forward_hooks = OrderedDict({0: lambda module, inputs, output: output * 2})


def _hooks_before(model) -> None:
    inner(model).mlp._forward_pre_hooks = OrderedDict({0: lambda module, inputs: (inputs[0] * 2,)})


def _parameters(model) -> None:
    import torch

    norm = inner(model).input_layernorm
    norm.__dict__["_parameters"] = {"weight": torch.nn.Parameter(norm.weight.detach() * 2)}


def _children(model) -> None:
    import torch

    mlp = inner(model).mlp
    mlp.__dict__["_modules"] = {**mlp._modules, "act_fn": torch.nn.ReLU()}


def _adapter(model) -> None:
    import torch

    held = layer(model).lora_B
    other = torch.nn.Linear(8, 128, bias=False)
    held.__dict__["_modules"] = {"default": other}


def _everything(model) -> None:
    mlp = inner(model).mlp
    mlp.__dict__ = {**mlp.__dict__, "_forward_hooks": OrderedDict({0: lambda module, inputs, output: output * 2})}


TABLES = {
    "hooks": (_hooks, "hooks"),
    "hooks before": (_hooks_before, "hooks"),
    "parameters": (_parameters, "tensors"),
    "children": (_children, "tensors"),
    "the adapter's matrix": (_adapter, "tensors"),
    "all attributes": (_everything, "forward"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_is_replaced_is_noticed(certified, base_model, name: str) -> None:
    """By `model` and `check` at once; by a kept reference with the next look at the list, and as tokens are made."""
    change, check = TABLES[name]
    active = go(certified, base_model, look_every=timedelta(0))
    model = active.model
    logits(model)
    change(model)
    refused(lambda: logits(model), check)
    refused(active.check, check)
    refused(lambda: active.model, check)


def test_tokens_take_turns_with_the_tables(certified, base_model) -> None:
    import torch

    active = go(certified, base_model)
    model = active.model
    _parameters(model)

    def tokens():
        for _ in range(len(active._guard.turns)):
            model(input_ids=torch.tensor([[5]]))

    refused(tokens, "tensors", "_parameters is another table")


@pytest.mark.parametrize("name", TABLES)
def test_control_without_the_guard_it_answers_otherwise(base_model, name: str) -> None:
    import torch
    from peft import PeftModel

    model = PeftModel.from_pretrained(base_model(), ZOO / "adapters/lora").eval()
    before = logits(model)
    TABLES[name][0](model)
    assert not torch.equal(logits(model), before)
