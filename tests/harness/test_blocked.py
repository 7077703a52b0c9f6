"""Packed weights: the same products, for exactly the weights that they were made of."""

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")
from torch.nn import functional  # noqa: E402

from peft_assay_harness.engines import blocked  # noqa: E402
from peft_assay_harness.engines.sameness import Kept  # noqa: E402

pytestmark = pytest.mark.model


@pytest.fixture(autouse=True)
def unpacked(monkeypatch):
    """Nothing is packed before or after."""
    monkeypatch.setattr(blocked, "_packed", Kept())
    monkeypatch.setattr(functional, "linear", blocked.plain)


@pytest.fixture
def used(monkeypatch):
    """How often a packed weight was computed with."""
    times = []
    product = blocked.product
    monkeypatch.setattr(blocked, "product", lambda *given: (times.append(1), product(*given))[1])
    return times


def model(dtype=torch.float32, *, bias=True):
    torch.manual_seed(0)
    made = torch.nn.Sequential(torch.nn.Linear(48, 96, bias=bias), torch.nn.SiLU(), torch.nn.Linear(96, 40))
    return made.to(dtype).requires_grad_(requires_grad=False)


def packed(made, used):
    count = blocked.pack(made)
    if not count:
        pytest.skip("this build of torch has no such kernels")
    used.clear()
    return count


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(1, 48), (3, 48), (2, 5, 48), (2, 1, 48), (0, 48)])
def test_products_are_the_same(shape, dtype, bias, used):
    made, rows = model(dtype, bias=bias), torch.randn(shape).to(dtype)
    expected = made(rows)
    assert packed(made, used) == 2
    given = made(rows)
    assert len(used) == 2
    assert (given.dtype, given.shape) == (expected.dtype, expected.shape)
    assert torch.allclose(given.float(), expected.float(), atol=1e-5 if dtype is torch.float32 else 2e-2)


def test_what_is_not_contiguous_is_no_other_product(used):
    made, rows = model(), torch.randn(48, 7).t()
    expected = made(rows)
    packed(made, used)
    assert torch.allclose(made(rows), expected, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight.add_(1.0),
        lambda weight: weight.mul_(0.0),
        lambda weight: setattr(weight, "data", weight.data + 1.0),
        lambda weight: weight[0, :3].fill_(9.0),
    ],
)
def test_a_weight_that_was_changed_is_computed_with_as_it_is_now(change, used):
    made, rows = model(), torch.randn(3, 48)
    packed(made, used)
    before = made(rows)
    used.clear()
    change(made[0].weight)
    assert not torch.allclose(made(rows), before)
    expected = blocked.plain(rows, made[0].weight, made[0].bias)
    assert torch.equal(made[0](rows), expected)


def test_another_weight_at_the_same_place_is_not_the_packed_one(used):
    made, rows = model(), torch.randn(3, 48)
    packed(made, used)
    other = torch.nn.Linear(48, 96).requires_grad_(requires_grad=False)
    assert torch.equal(other(rows), blocked.plain(rows, other.weight, other.bias))
    made[0].weight = other.weight
    assert torch.equal(made[0](rows), blocked.plain(rows, other.weight, made[0].bias))
    assert not used


def test_gradients_flow_through_what_is_packed(used):
    made, rows = model(), torch.randn(3, 48, requires_grad=True)
    packed(made, used)
    made(rows).sum().backward()
    assert rows.grad is not None
    assert rows.grad.abs().sum() > 0
    assert not used


def test_weights_that_learn_and_bases_that_are_large_are_left_alone(monkeypatch):
    assert blocked.pack(model().requires_grad_()) == 0
    monkeypatch.setattr(blocked, "PACK_BYTES", 4)
    assert blocked.pack(model()) == 0
    assert functional.linear is blocked.plain


def test_kernels_that_compute_something_else_are_not_used(monkeypatch):
    monkeypatch.setattr(blocked, "product", lambda rows, blocks, bias: torch.zeros(2, 96))
    assert blocked.pack(torch.nn.Sequential(model()[0])) == 0

    def refuses(*_):
        raise RuntimeError("not on this processor")

    monkeypatch.setattr(blocked, "product", refuses)
    assert blocked.pack(model()) == 0
    assert functional.linear is blocked.plain
