"""Float32 copies of what is in half precision: exactly its numbers, whether they were converted in advance or not."""

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")
from torch.nn import functional  # noqa: E402

from peft_assay_harness.engines import blocked, copies  # noqa: E402
from peft_assay_harness.engines.sameness import Kept  # noqa: E402

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]

HALF = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    monkeypatch.setattr(copies, "_twins", Kept())
    monkeypatch.setattr(blocked, "_packed", Kept())
    monkeypatch.setattr(functional, "linear", blocked.plain)


@pytest.fixture
def model(made):
    return lambda dtype: made("llama")[0].to(dtype).requires_grad_(requires_grad=False)


def assert_copied(original, copied, dtype):
    pairs = list(zip(original.state_dict().items(), copied.state_dict().items(), strict=True))
    assert pairs
    for (name, half), (same, precise) in pairs:
        assert name == same
        assert precise.dtype is torch.float32
        assert torch.equal(half.float(), precise)
    assert {parameter.dtype for parameter in original.parameters()} == {dtype}
    assert not copied.training
    assert tied(copied) == tied(original)


def tied(model):
    return model.get_input_embeddings().weight is model.get_output_embeddings().weight


@HALF
@pytest.mark.parametrize("kept", [False, True])
def test_a_copy_has_the_same_numbers_in_float32(model, dtype, kept):
    original = model(dtype)
    if kept:
        assert copies.keep_precise(original) == len(list(original.parameters()))
    copied = copies.precise_copy(original)
    assert copied is not original
    assert_copied(original, copied, dtype)
    tokens = torch.arange(5, 15)[None]
    assert copied(tokens).logits.dtype is torch.float32
    assert original(tokens).logits.dtype is dtype


def test_copies_share_what_was_converted_in_advance_and_none_is_converted_twice(model):
    original = model(torch.bfloat16)
    copies.keep_precise(original)
    first, second = (copies.precise_copy(original) for _ in range(2))
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert one is other
    weights = [module.weight for module in first.modules() if type(module) is torch.nn.Linear]
    assert all(map(blocked.holds, weights)) or not blocked._packed


def test_an_adapter_is_copied_with_the_base(model, adapted):
    original = model(torch.bfloat16)
    copies.keep_precise(original)
    wrapped = adapted(original, "lora").to(torch.bfloat16)
    copied = copies.precise_copy(wrapped)
    own = [name for name, _ in copied.named_parameters() if "lora_" in name]
    assert own
    for name, parameter in copied.named_parameters():
        assert torch.equal(parameter, wrapped.get_parameter(name).float())
    copied.get_parameter(own[0]).data.zero_()
    assert wrapped.get_parameter(own[0]).abs().sum() > 0


@pytest.mark.parametrize(
    "change", [lambda weight: weight.mul_(2.0), lambda weight: setattr(weight, "data", weight.data * 2)]
)
def test_a_weight_that_was_changed_since_is_converted_as_it_is_now(model, change):
    original = model(torch.bfloat16)
    copies.keep_precise(original)
    changed = original.get_decoder().layers[0].mlp.down_proj.weight
    change(changed)
    copied = copies.precise_copy(original)
    assert torch.equal(copied.get_decoder().layers[0].mlp.down_proj.weight, changed.float())
    assert_copied(original, copied, torch.bfloat16)


def test_what_is_large_is_not_converted_in_advance_and_what_is_precise_not_at_all(model, monkeypatch):
    precise = model(torch.float32)
    assert copies.keep_precise(precise) == 0
    assert copies.precise_copy(precise) is precise
    monkeypatch.setattr(copies, "PACK_BYTES", 4)
    assert copies.keep_precise(model(torch.bfloat16)) == 0
    assert not copies._twins


def test_hooks_of_a_copy_are_its_own_and_those_that_were_set_are_copied(model):
    original = model(torch.bfloat16)
    seen = []
    original.register_forward_hook(lambda *_: seen.append("whole"))
    copied = copies.precise_copy(original)
    copied.model.register_forward_hook(lambda *_: seen.append("part"))
    tokens = torch.arange(5, 15)[None]
    copied(tokens)
    assert seen == ["part", "whole"]
    original(tokens)
    assert seen == ["part", "whole", "whole"]
