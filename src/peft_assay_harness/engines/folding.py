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
from peft_assay_harness.engines.sameness import Seen, same

FOLD_BYTES = 64 << 20
"""Of folded weights, at most: they are a job's own memory, which is bounded."""
FLOAT = torch.float32.itemsize


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
        self._made_of = [Seen.of(tensor) for tensor in self._tensors()]
        self._setting = self._settings()
        self._blocks = blocked.reordered(layer.base_layer.weight + layer.get_delta_weight(name))

    def __call__(self, rows: Any, *arguments: Any, **more: Any) -> Any:
        if arguments or more or rows.requires_grad or rows.dtype is not torch.float32 or not self._holds():
            return self._plain(rows, *arguments, **more)
        return blocked.product(rows, self._blocks, self._bias)

    def gives_the_same(self) -> bool:
        """Whether a probe is answered as by the layer's own forward."""
        width = self._layer.base_layer.in_features
        probe = torch.linspace(-1, 1, 2 * width).reshape(2, width)
        return same(self(probe), self._plain(probe))

    def _holds(self) -> bool:
        """Whether all that the folded weight was made of is what it was."""
        return self._settings() == self._setting and all(map(Seen.is_still, self._made_of, self._tensors()))

    def _tensors(self) -> tuple[Any, ...]:
        layer = self._layer
        return layer.base_layer.weight, layer.lora_A[self._name].weight, layer.lora_B[self._name].weight

    def _settings(self) -> tuple[Any, ...]:
        layer = self._layer
        return layer.scaling[self._name], layer.active_adapters, layer.disable_adapters, layer.merged
