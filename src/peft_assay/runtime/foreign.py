"""Check that the code of a model is its library's own: replaced classes and functions compute other results.

A replaced method of a class is the same for a model and its twin, so it is looked for where functions say they were
defined. Code in this process can forge that too: this is a guard rail against changes that a library or a recipe makes
openly.
"""

import contextlib
import functools
import inspect
import os
import sys
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typing_extensions

LIBRARIES = ("transformers", "torch", "peft")
MODELS = "transformers.models."
"""Modules whose functions a forward pass calls."""
OPERATIONS = ("torch", "torch.nn.functional")
"""Modules by which models call torch's operations."""
COMPILED = ("__compiled_fn_", "__resume_at_")
"""What torch.compile adds to a module: the source of the library calls none of it."""
WRAPPING = (contextlib.__file__, functools.__file__, warnings.__file__, typing_extensions.__file__)
"""Modules that define Python's own decorators: the wrapped function is looked at instead."""


class Code:
    """The classes behind a model, and the modules of transformers that they call functions of."""

    def __init__(self, model: Any) -> None:
        classes = {kind for module in model.modules() for kind in type(module).__mro__ if kind is not object}
        self.classes = sorted(classes, key=lambda kind: (kind.__module__, kind.__qualname__))
        self.homes = sorted({kind.__module__ for kind in classes if _library(kind)} | set(OPERATIONS))
        self.roots = (*map(_folder, filter(sys.modules.__contains__, LIBRARIES)), *WRAPPING)

    def replaced(self) -> Iterator[str]:
        """Give the qualified names of methods and functions that their library did not define."""
        for kind in self.classes:
            for name, value in list(vars(kind).items()):
                if isinstance(value, types.FunctionType) and not _own(value, self.roots):
                    yield f"{kind.__module__}.{kind.__qualname__}.{name}"
            forward = vars(kind).get("forward")
            # torch's own Module has none to replace
            if kind.__name__ != "Module" and isinstance(forward, types.FunctionType) and not _in_place(forward, kind):
                yield f"{kind.__module__}.{kind.__qualname__}.forward"
        for home in self.homes:
            for name, value in list(vars(sys.modules[home]).items()):
                if isinstance(value, types.FunctionType) and not name.startswith(COMPILED) and not self._known(value):
                    yield f"{home}.{name}"

    def _known(self, function: types.FunctionType) -> bool:
        return _standard(function) or _own(function, self.roots)


class Modes:
    """The modes of torch that are in force in this thread, which may compute something else for each operation."""

    def __init__(self) -> None:
        import torch

        # torch counts them in C; a version without such a count has no such modes
        self.functions = getattr(torch._C, "_len_torch_function_stack", int)  # noqa: SLF001 - there is no public way
        self.dispatches = getattr(torch._C, "_len_torch_dispatch_stack", int)  # noqa: SLF001 - there is no public way
        self.root = _folder("torch")

    def foreign(self) -> str | None:
        """Return the name of the first such mode; those of torch choose a device, count or record."""
        from torch.overrides import _get_current_function_mode_stack
        from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

        for mode in (*_get_current_function_mode_stack(), *_get_current_dispatch_mode_stack()):
            source = getattr(sys.modules.get(type(mode).__module__), "__file__", None) or ""
            if not source.startswith(self.root):
                return f"{type(mode).__module__}.{type(mode).__qualname__}"
        return None


def foreign_attention(model: Any) -> str | None:
    """Return the attention implementation that a part of `model` uses and that is not transformers' own, or None.

    Transformers' own ones (eager, sdpa, flash, flex) compute one function up to rounding, and the lock names none.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    root = _folder("transformers")
    for name in sorted(_implementations(model)):
        function = ALL_ATTENTION_FUNCTIONS.get(name)
        if function is None and name in ("eager", "None"):
            continue
        if not isinstance(function, types.FunctionType) or not _own(function, (root,)):
            return name
    return None


def _folder(library: str) -> str:
    """The folder of an imported library, with its last separator: others begin with the same letters."""
    return str(Path(sys.modules[library].__file__ or "").parent) + os.sep


def _implementations(model: Any) -> set[str]:
    """Return the attention implementations that the configurations of a model's parts name."""
    configurations = {id(c): c for part in model.modules() if (c := getattr(part, "config", None)) is not None}
    return {str(getattr(c, "_attn_implementation", "eager")) for c in configurations.values()}


def _own(function: types.FunctionType, roots: tuple[str, ...]) -> bool:
    """Whether a function, and each that it says it wraps, was defined in one of the folders."""
    current: Any = function
    for _ in range(20):
        code = getattr(current, "__code__", None)
        if code is not None and not code.co_filename.startswith(roots):
            return False
        current = getattr(current, "__wrapped__", None)
        if current is None:
            return True
    return False


def _in_place(forward: types.FunctionType, kind: type) -> bool:
    """Whether a class's forward was written in it, or is one that its module inherits by assignment."""
    inner = inspect.unwrap(forward)
    return (inner.__module__, inner.__qualname__) == (kind.__module__, f"{kind.__qualname__}.forward")


def _library(kind: type) -> bool:
    return kind.__module__.startswith(MODELS) and kind.__module__ in sys.modules


def _standard(function: types.FunctionType) -> bool:
    """Whether it says that it is Python's own."""
    return str(function.__module__).split(".", 1)[0] in sys.stdlib_module_names
