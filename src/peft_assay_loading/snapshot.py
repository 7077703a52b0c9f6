"""Remembers a model's module tree, so that an adapter can be taken off without trusting the adapter's own code."""

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from peft_assay_loading.contents import Contents
from peft_assay_loading.errors import LoadingError

if TYPE_CHECKING:
    import torch

BEFORE = "_peft_assay_before"
"""Attribute of a wrapped model under which `load.attach` leaves its snapshot; it lives as long as the model."""


class Snapshot:
    """Every attribute of every module (by reference), of the configurations, and a sum over each tensor's content.

    PEFT's own `unload` exists for some adapter types only and leaves attributes behind; restoring the earlier
    state works for all of them, after a failure half-way, too. Tensor contents are not copied: `restore` reports a
    base tensor that holds other bytes than before. PyTorch's version counter would not do: `.data` writes (merging,
    several initialisers) escape it, and parametrizing a tensor, as PEFT does for fused experts, counts as a write.
    """

    def __init__(self, model: "torch.nn.Module") -> None:
        self.model = model
        self._modules = [(module, _Attributes(module.__dict__)) for module in model.modules()]
        self.tensors = [*model.parameters(), *model.buffers()]
        named = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
        self._shapes = {name: tuple(tensor.shape) for name, tensor in named}
        self._gradients = [(tensor, tensor.requires_grad) for tensor in self.tensors]
        self._contents = Contents(self.tensors)
        self._configurations = [
            (configuration, copy.deepcopy(configuration.__dict__)) for configuration in _configurations(model)
        ]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of each parameter and buffer, by name: an adapter may have resized the vocabulary since."""
        return self._shapes

    def restore(self) -> None:
        """Put everything back; raises LoadingError when a base tensor holds other bytes than before."""
        for _, attributes in self._modules:
            attributes.restore()
        for configuration, before in self._configurations:
            configuration.__dict__.clear()
            configuration.__dict__.update(copy.deepcopy(before))
        for tensor, requires_grad in self._gradients:
            tensor.requires_grad_(requires_grad)
        if any(True for _ in self._contents.altered()):
            raise LoadingError("a tensor of the base was overwritten: load the base again before using it")


def _configurations(model: "torch.nn.Module") -> Iterator[Any]:
    """Give the model's configurations; the one of its text, which modules share, is an object of its own."""
    whole: Any = getattr(model, "config", None)
    text = whole.get_text_config() if hasattr(whole, "get_text_config") else None
    yield from (one for one in (whole, getattr(model, "generation_config", None)) if one is not None)
    if text is not None and text is not whole:
        yield text


class _Attributes:
    """One module's `__dict__`, with the content of the registries that torch changes in place."""

    def __init__(self, attributes: dict[str, Any]) -> None:
        self._attributes = attributes
        self._values = dict(attributes)
        self._registries = [(value, dict(value)) for value in attributes.values() if isinstance(value, dict)]
        self._sets = [(value, set(value)) for value in attributes.values() if isinstance(value, set)]

    def restore(self) -> None:
        self._attributes.clear()
        self._attributes.update(self._values)
        for registry, content in self._registries:
            registry.clear()
            registry.update(content)
        for members, content_of_set in self._sets:
            members.clear()
            members.update(content_of_set)
