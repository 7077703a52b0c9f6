"""A folded LoRA: the same products, of exactly the weights that it was made of, in float32."""

import json

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")
import safetensors.torch  # noqa: E402
from torch.nn import functional  # noqa: E402

from peft_assay_harness.engines import blocked, engine_for, folding, language  # noqa: E402
from peft_assay_harness.engines.interface import Row  # noqa: E402
from peft_assay_harness.engines.sameness import Kept  # noqa: E402
from peft_assay_loading.config import parse_config  # noqa: E402
from peft_assay_loading.fitting import required_shapes  # noqa: E402
from peft_assay_loading.load import attach, detach  # noqa: E402
from peft_assay_loading.state import base_state  # noqa: E402

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]

ROWS = torch.randn(3, 48)


@pytest.fixture(autouse=True)
def unpacked(monkeypatch):
    """Nothing is packed before or after."""
    monkeypatch.setattr(blocked, "_packed", Kept())
    monkeypatch.setattr(functional, "linear", blocked.plain)


class Base(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(48, 96)
        self.second = torch.nn.Linear(96, 40, bias=False)

    def forward(self, rows):
        return self.second(torch.nn.functional.silu(self.first(rows)))


def adapted(dtype=torch.float32, **more):
    import peft

    torch.manual_seed(0)
    base = Base().to(dtype).requires_grad_(requires_grad=False)
    if not blocked.pack(base):
        pytest.skip("this build of torch has no such kernels")
    config = peft.LoraConfig(r=4, target_modules=["first", "second"], init_lora_weights=False, **more)
    return peft.get_peft_model(base, config).eval().requires_grad_(requires_grad=False)


def layer_of(model):
    return model.base_model.model.first


@pytest.fixture
def products(monkeypatch):
    """Of PEFT's own layers: how often one was computed."""
    seen = []
    forward = folding.Linear.forward
    monkeypatch.setattr(folding.Linear, "forward", lambda *given: (seen.append(1), forward(*given))[1])
    return seen


@pytest.mark.parametrize("more", [{}, {"use_rslora": True}, {"lora_alpha": 32}, {"lora_dropout": 0.5}])
def test_products_are_the_same(products, more):
    model = adapted(**more)
    expected = model(ROWS)
    assert folding.fold(model) == 2
    products.clear()
    assert torch.allclose(model(ROWS), expected, atol=1e-5)
    assert torch.allclose(model(ROWS[None, :1]), expected[None, :1], atol=1e-5)
    assert not products


@pytest.mark.parametrize("more", [{"use_dora": True}, {"lora_bias": True}])
def test_what_is_more_than_a_product_of_two_matrices_is_not_folded(more):
    model = adapted(**more)
    for name, parameter in model.named_parameters():
        if "lora_B" in name and name.endswith("bias"):
            parameter.data += 1.0
        if "magnitude" in name:
            parameter.data *= 2.0
    expected = model(ROWS)
    assert folding.fold(model) == 0
    assert torch.equal(model(ROWS), expected)


def test_a_bias_that_a_probe_could_hide_is_not_folded():
    model = adapted(lora_bias=True)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.fill_(1e3)
    assert folding.fold(model) == 0


def test_what_is_only_partly_in_float32_and_what_takes_too_much_is_left_alone(monkeypatch):
    model = adapted()
    model.base_model.model.register_parameter(
        "other", torch.nn.Parameter(torch.zeros(2, dtype=torch.bfloat16), requires_grad=False)
    )
    assert folding.fold(model) == 0
    monkeypatch.setattr(folding, "FOLD_BYTES", 4)
    assert folding.fold(adapted()) == 0


def test_half_precision_and_bases_that_are_not_packed_are_left_alone(monkeypatch):
    assert folding.fold(adapted(torch.bfloat16)) == 0
    model = adapted()
    monkeypatch.setattr(blocked, "_packed", Kept())
    assert folding.fold(model) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.base_layer.weight.add_(1.0),
        lambda layer: layer.lora_A["default"].weight.mul_(2.0),
        lambda layer: layer.lora_B["default"].weight.zero_(),
        lambda layer: setattr(layer.lora_B["default"].weight, "data", torch.ones(96, 4)),
        lambda layer: layer.scaling.update(default=0.0),
        lambda layer: layer.enable_adapters(enabled=False),
    ],
    ids=["base", "A", "B", "replaced", "strength", "off"],
)
def test_whatever_was_changed_is_computed_with_as_it_is_now(products, change):
    model = adapted()
    folding.fold(model)
    before = model(ROWS)
    change(layer_of(model))
    products.clear()
    now = model(ROWS)
    assert products
    del layer_of(model).forward
    assert torch.equal(now, model(ROWS))
    assert not torch.allclose(now, before, atol=1e-5)


def test_gradients_flow_past_what_is_folded(products):
    model = adapted()
    folding.fold(model)
    products.clear()
    rows = ROWS.clone().requires_grad_()
    model(rows).sum().backward()
    assert products
    assert rows.grad.abs().sum() > 0


def test_a_product_that_is_another_is_not_used(monkeypatch):
    model = adapted()
    monkeypatch.setattr(folding.Linear, "get_delta_weight", lambda *_: torch.ones(()))
    assert folding.fold(model) == 0


def test_an_engine_folds_for_many_rows_and_the_base_is_bare_again_afterwards(made, products, monkeypatch):
    model, tokenizer = made("llama")
    model.float().requires_grad_(requires_grad=False)
    if not blocked.pack(model):
        pytest.skip("this build of torch has no such kernels")
    config = json.dumps({"peft_type": "LORA", "r": 2, "target_modules": ["q_proj", "down_proj"]}).encode()
    torch.manual_seed(0)
    shapes = required_shapes(model, parse_config(config))
    weights = safetensors.torch.save({name: torch.randn(shape) for name, shape in shapes.items()})
    state, engine = base_state(model), engine_for("causal-lm", model, tokenizer)
    rows = [Row(tuple(range(10, 20)), (at, at + 1)) for at in range(30, 36)]
    bare = engine.log_likelihoods(rows)
    engine.use(attach(model, config, weights))
    plain = engine.log_likelihoods(rows)
    assert products
    monkeypatch.setattr(language, "FOLD_TOKENS", 12 * len(rows))
    products.clear()
    folded = engine.log_likelihoods(rows)
    assert folded == pytest.approx(plain, abs=1e-3)
    assert folded != pytest.approx(bare, abs=1e-2)
    products.clear()
    assert engine.log_likelihoods(rows) == folded
    assert not products
    assert base_state(engine.model) == state
    engine.use(detach(engine.model))
    assert engine.log_likelihoods(rows) == bare
