"""Remembers a model's module tree, so that an adapter can be taken off without trusting the adapter's own code."""

import copy
from typing import TYPE_CHECKING, Any

from peft_assay_loading.errors import LoadingError

if TYPE_CHECKING:
    import torch


class Snapshot:
    """Every attribute of every module (by reference), of the configurations, and each tensor's version counter.

    PEFT's own `unload` exists for some adapter types only and leaves attributes behind; restoring what was there
    before works for all of them, after a failure half-way, too. Tensor contents are not copied: `restore` reports a
    base tensor that was written to in place (PyTorch's version counter; `.data` writes escape it, which is why
    initialisers that write through it are refused and the base state is compared by whoever must be sure).
    """

    def __init__(self, model: "torch.nn.Module") -> None:
        self.model = model
        self._modules = [(module, _Attributes(module.__dict__)) for module in model.modules()]
        self._tensors = [
            (tensor, tensor._version, tensor.requires_grad)  # noqa: SLF001 - the only public way is a profiler
            for tensor in (*model.parameters(), *model.buffers())
        ]
        self._configurations = [
            (configuration, copy.deepcopy(configuration.__dict__))
            for configuration in (getattr(model, name, None) for name in ("config", "generation_config"))
            if configuration is not None
        ]

    def restore(self) -> None:
        """Puts everything back; raises LoadingError when a base tensor was written to in the meantime."""
        for _, attributes in self._modules:
            attributes.restore()
        for configuration, before in self._configurations:
            configuration.__dict__.clear()
            configuration.__dict__.update(copy.deepcopy(before))
        written = False
        for tensor, version, requires_grad in self._tensors:
            tensor.requires_grad_(requires_grad)
            written = written or tensor._version != version  # noqa: SLF001 - see __init__
        if written:
            raise LoadingError("a tensor of the base was overwritten: load the base again before using it")


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
