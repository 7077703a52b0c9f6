"""An activated model is compiled: its hooks go on asking, or there is no answer.

The control shows what a compiler does with a hook that it was not told to leave alone.
"""

from datetime import timedelta

import pytest

from attacks.runtime.test_let_in import generated, go, inner, layer, logits, refused
from peft_assay.pipeline.deployment import utc_now
from runtime.conftest import ZOO

pytestmark = [pytest.mark.model, pytest.mark.sandbox]


@pytest.fixture(autouse=True)
def forget():
    import torch

    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def _around(model):
    import torch

    return torch.compile(model, backend="eager")


def _base_inside(model):
    import torch

    return torch.compile(model.get_base_model(), backend="eager")


def _in_place(model):
    model.get_base_model().compile(backend="eager")
    return model


def _decoder_in_place(model):
    model.get_base_model().model.compile(backend="eager")
    return model


def _each_layer_in_place(model):
    for part in model.get_base_model().model.layers:
        part.compile(backend="eager")
    return model


def _ahead_of_time(model):
    import torch

    return torch.compile(model, backend="aot_eager")


WAYS = (_around, _base_inside, _in_place, _decoder_in_place, _each_layer_in_place, _ahead_of_time)


@pytest.mark.parametrize("way", WAYS)
def test_a_model_compiled_after_activation_goes_on_asking(certified, base_model, way) -> None:
    import torch

    now = [utc_now()]
    active = go(certified, base_model, clock=lambda: now[0])
    model = active.model
    plain = logits(model)
    compiled = way(model)
    assert torch.allclose(logits(compiled), plain, atol=1e-5)
    layer(model).set_scale("default", 5.0)
    refused(lambda: logits(compiled), "scale")
    layer(model).set_scale("default", 1.0)
    assert torch.allclose(logits(compiled), plain, atol=1e-5)
    generated(model)
    active.check()
    now[0] += timedelta(days=400)
    refused(lambda: logits(compiled), "times", "ended")


def test_control_a_hook_that_the_compiler_may_trace_is_run_once(base_model) -> None:
    import torch
    from peft import PeftModel

    model = PeftModel.from_pretrained(base_model(), ZOO / "adapters/lora").eval()
    asked = []
    compiled = torch.compile(model, backend="eager")
    logits(compiled)
    model.get_base_model().model.register_forward_pre_hook(lambda module, arguments: asked.append(1))
    logits(compiled)
    assert not asked
    layer(model).set_scale("default", 5.0)
    logits(compiled)  # without the guard it follows the other scale


def test_where_no_hook_may_be_left_out_of_the_graph_there_is_no_answer(certified, base_model) -> None:
    import torch

    model = go(certified, base_model).model
    whole = torch.compile(model, backend="eager", fullgraph=True)
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"torch.compiler.disable"):
        logits(whole)
    logits(model)


def _another_pass(module):
    module._compiled_call_impl = lambda states: states


def _compiled_then_another(module):
    module.compile(backend="eager")
    module._compiled_call_impl = lambda states: states


def _of_another_module(module):
    import torch

    module._compiled_call_impl = torch.compile(torch.nn.Identity()._call_impl, backend="eager")


STAND_INS = (_another_pass, _compiled_then_another, _of_another_module)


@pytest.mark.parametrize("stand_in", STAND_INS)
def test_what_stands_in_for_a_compiled_pass_is_refused(certified, base_model, stand_in) -> None:
    active = go(certified, base_model)
    model = active.model
    stand_in(inner(model).mlp)
    refused(lambda: logits(model), "forward", "_compiled_call_impl")
    refused(active.check, "forward")
    refused(lambda: active.model, "forward")


def test_a_compiled_part_that_is_replaced_later_is_refused(certified, base_model) -> None:
    model = go(certified, base_model).model
    inner(model).mlp.compile(backend="eager")
    logits(model)
    _another_pass(inner(model).mlp)
    refused(lambda: logits(model), "forward", "_compiled_call_impl")


@pytest.mark.parametrize("stand_in", STAND_INS)
def test_control_without_the_guard_a_stand_in_answers(base_model, stand_in) -> None:
    import torch
    from peft import PeftModel

    model = PeftModel.from_pretrained(base_model(), ZOO / "adapters/lora").eval()
    before = logits(model)
    stand_in(inner(model).mlp)
    assert not torch.equal(logits(model), before)
