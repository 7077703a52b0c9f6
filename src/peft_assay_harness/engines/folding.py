"""A LoRA folded into the weights that it adapts: one product for each layer in place of three.

What PEFT's layer adds, s B A x, is (s B A) x: s B A is computed once for all rows that an adapter is asked, added to a
copy of the base's weight, and laid out for the processor's kernels (blocked.py). The base itself is not written to. In
float32 only, where the sum rounds no worse than the products do; in half precision it would round an adapter away.

A layer is folded where it is PEFT's plain LoRA, on a weight that is packed, and gives for a probe what it gave before.
Its own forward is still there for whatever is not as it was then: another strength, a weight that was written to,
gradients.
"""

from collections.abc import Callable
from typing import Any

import torch
from peft.tuners.lora.layer import Linear

from peft_assay_harness.engines import blocked

FOLD_BYTES = 64 << 20
"""Of folded weights, at most: they are a job's own memory, which is bounded."""
FLOAT = torch.float32.itemsize
CLOSE = 1e-4
"""Of the largest value by which both ways of computing a probe may differ."""


def fold(model: Any) -> int:
    """Folds the LoRA layers of `model` where that can be done; gives how many. Taking the adapter off ends it."""
    layers = [module for module in model.modules() if type(module) is Linear]
    weights = {id(layer): layer.get_base_layer().weight for layer in layers}
    if sum(weight.numel() * weight.element_size() for weight in weights.values()) > FOLD_BYTES:
        return 0
    if any(parameter.is_floating_point() and parameter.element_size() < FLOAT for parameter in model.parameters()):
        return 0  # where only some of it is in half precision, too
    return sum(_fold(layer) for layer in layers)


def _fold(layer: Any) -> bool:
    base = layer.base_layer
    if type(base) is not torch.nn.Linear or base.weight.dtype is not torch.float32 or not blocked.holds(base.weight):
        return False
    name, *others = layer.active_adapters
    if others or name not in layer.lora_A or name in layer.lora_variant or layer.lora_B[name].bias is not None:
        return False
    folded = _Folded(layer, name)
    if folded.gives_the_same():
        layer.forward = folded
    return "forward" in vars(layer)


class _Folded:
    """The forward of one layer."""

    def __init__(self, layer: Any, name: str) -> None:
        self._layer, self._name = layer, name
        self._plain: Callable[..., Any] = layer.forward
        self._bias = layer.base_layer.bias
        self._state = self._current()
        self._blocks = blocked.blocks_of(layer.base_layer.weight + layer.get_delta_weight(name))

    def __call__(self, rows: Any, *arguments: Any, **more: Any) -> Any:
        if arguments or more or rows.requires_grad or rows.dtype is not torch.float32 or self._current() != self._state:
            return self._plain(rows, *arguments, **more)
        return blocked.product(rows, self._blocks, self._bias)

    def gives_the_same(self) -> bool:
        """Whether a probe is answered as by the layer's own forward."""
        if self._blocks is None:
            return False
        width = self._layer.base_layer.in_features
        probe = torch.linspace(-1, 1, 2 * width).reshape(2, width)
        own, expected = self(probe), self._plain(probe)
        return bool((own - expected).abs().max() <= CLOSE * expected.abs().max())

    def _current(self) -> tuple[Any, ...]:
        """What the folded weight was made of."""
        layer = self._layer
        held = (layer.base_layer.weight, layer.lora_A[self._name].weight, layer.lora_B[self._name].weight)
        written = tuple((id(tensor), tensor.data_ptr(), tensor._version) for tensor in held)  # noqa: SLF001 - as blocked.py
        return written, layer.scaling[self._name], layer.active_adapters, layer.disable_adapters, layer.merged
