"""Compare a live model with its twin: class by class, attribute by attribute, all but the content of tensors.

Tensors and buffers are compared by the base state; here all other attributes that change the results are compared.
Attributes that may differ are listed below, each with its reason; all others must be equal.
"""

import enum
import functools
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

REGISTRIES = frozenset({"_parameters", "_buffers", "_modules"})
"""Tensors, which are compared by name and kind."""
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
NO_FORWARD = frozenset(
    {
        *HOOKS,  # looked at without their numbers
        "_forward_hooks_with_kwargs",  # how those are called
        "_forward_hooks_always_called",
        "_forward_pre_hooks_with_kwargs",
        "_backward_hooks",
        "_backward_pre_hooks",
        "_state_dict_hooks",
        "_state_dict_pre_hooks",
        "_load_state_dict_pre_hooks",
        "_load_state_dict_post_hooks",
    }
)
"""Tables of a module that no forward pass reads, or that other checks read."""
CAPTURING = "transformers.utils.output_capturing"
"""Where transformers defines the hooks by which a caller is given hidden states: they change nothing."""
FREE_ATTRIBUTES = frozenset(
    {
        "training",  # activation puts the model into eval mode itself
        "name_or_path",  # the place it was loaded from; the base state covers the loaded tensors
        "hf_device_map",
        "_is_hf_initialized",  # marks of loading
        "_use_kernels",
        "_weight_conversions",
        "_output_capturing_hooks_installed",  # set by a request for hidden states; the hooks are compared
        "is_quantized",  # another dtype is another state
    }
)
FREE_SETTINGS = frozenset(
    {
        "_name_or_path",
        "name_or_path",
        "_commit_hash",
        "transformers_version",  # the version in the file; the installed one is in the lock
        "architectures",  # names; the class itself is compared
        "dtype",  # tensors have theirs in the base state
        "torch_dtype",
        "use_cache",  # answers are the same with and without a cache
        "_attn_implementation",  # compared separately: `foreign_attention`
        "_attn_implementation_internal",
        "_experts_implementation",  # the same product of matrices, grouped otherwise
        "_experts_implementation_internal",
        "output_hidden_states",  # more is returned, the computation is the same
        "_output_attentions",
        "output_attentions",
        "return_dict",
        "problem_type",  # of the loss
        "gradient_checkpointing",
    }
)
"""Settings of model.config that may differ."""
FREE_GENERATION = FREE_SETTINGS | {
    "_from_model_config",
    "max_length",  # how much is asked for is the caller's, and bounded by the context's lengths
    "max_new_tokens",
    "max_time",
    "cache_implementation",
    "cache_config",
    "max_cache_len",
    "compile_config",
    "disable_compile",
    "continuous_batching_config",
    "prefill_chunk_size",
    "low_memory",
    "num_return_sequences",
    "pad_token_id",  # fills rows of a batch, and is masked
    "output_scores",
    "output_logits",
    "return_dict_in_generate",
}
"""Settings of model.generation_config that may differ."""
DEPTH = 12
Seen = dict[tuple[int, int], tuple[Any, Any]]
"""Pairs that were compared, kept so that no other object gets their identity meanwhile."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference from the certified model."""

    where: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.where} is {self.found}, and {self.expected} is certified"


@dataclass(frozen=True, slots=True)
class Likeness:
    """The limits of likeness: `free_settings` of model.config may differ."""

    free_settings: frozenset[str] = FREE_SETTINGS

    def differences(self, live: Any, twin: Any) -> Iterator[Difference]:
        """Yield the differences between two modules and everything below them; of each module only its own
        attributes.
        """
        mine, theirs = (
            dict(live.named_modules(remove_duplicate=False)),
            dict(twin.named_modules(remove_duplicate=False)),
        )
        for path in sorted(mine.keys() ^ theirs.keys()):
            yield Difference(path or "the model", *_presence(path in mine))
        seen: Seen = {}
        for path, module in mine.items():
            if path in theirs:
                yield from self._module(module, theirs[path], path, seen)

    def _module(self, live: Any, twin: Any, path: str, seen: Seen) -> Iterator[Difference]:
        if type(live) is not type(twin):
            yield Difference(f"the class of {path or 'the model'}", _name(type(live)), _name(type(twin)))
            return
        mine, theirs = vars(live), vars(twin)
        for name in ("_parameters", "_buffers"):
            yield from _tensors(mine[name], theirs[name], path)
        at = f"{path}." if path else ""
        for name in HOOKS:
            yield from self.values(hooks_in(mine[name]), hooks_in(theirs[name]), at + name, seen)
        for name in sorted((mine.keys() | theirs.keys()) - REGISTRIES - NO_FORWARD - FREE_ATTRIBUTES):
            if name not in mine or name not in theirs:
                if not _empty(mine.get(name, theirs.get(name))):
                    yield Difference(at + name, *_presence(name in mine))
            else:
                yield from self.values(mine[name], theirs[name], at + name, seen)

    def values(self, found: Any, expected: Any, at: str, seen: Seen, depth: int = 0) -> Iterator[Difference]:
        """Yield the places where two values differ, at most `DEPTH` levels down; pairs that were compared before are
        skipped.
        """
        if found is expected or (not _is_plain(found) and (id(found), id(expected)) in seen):
            return
        if depth == DEPTH or type(found) is not type(expected):
            yield Difference(at, text_of(found), text_of(expected))
            return
        seen[id(found), id(expected)] = found, expected
        match found:
            case dict() | types.MappingProxyType():
                yield from self._mapping(found, expected, at, seen, depth)
            case list() | tuple():
                yield from self._mapping(dict(enumerate(found)), dict(enumerate(expected)), at, seen, depth)
            case _ if _is_tensor(found):
                yield from _plain_tensor(found, expected, at)
            case _ if _is_module(found):
                return  # a module that is no child, such as a parent: walked by its own name, or of the same class
            case types.FunctionType() | types.MethodType() | functools.partial():
                yield from self._callable(found, expected, at, seen, depth)
            case _ if _is_plain(found) or isinstance(found, type):
                if not _equal(found, expected):
                    yield Difference(at, text_of(found), text_of(expected))
            case _:
                yield from self._object(found, expected, at, seen, depth)

    def _mapping(
        self, found: Mapping[Any, Any], expected: Mapping[Any, Any], at: str, seen: Seen, depth: int
    ) -> Iterator[Difference]:
        for key in sorted(found.keys() | expected.keys(), key=repr):
            if key not in found or key not in expected:
                yield Difference(f"{at}.{key}", *_presence(key in found))
            else:
                yield from self.values(found[key], expected[key], f"{at}.{key}", seen, depth + 1)

    def _callable(self, found: Any, expected: Any, at: str, seen: Seen, depth: int) -> Iterator[Difference]:
        """Yield differences of two functions that each model makes anew: alike ones have the same code and hold alike
        values.
        """
        parts = _parts_of(found), _parts_of(expected)
        if parts[0][0] is not parts[1][0]:
            yield Difference(at, text_of(found), text_of(expected))
        else:
            yield from self._mapping(parts[0][1], parts[1][1], at, seen, depth)

    def _object(self, found: Any, expected: Any, at: str, seen: Seen, depth: int) -> Iterator[Difference]:
        free: frozenset[str] = frozenset()
        if at.rsplit(".", 1)[-1] == "generation_config":
            free = FREE_GENERATION
        elif hasattr(found, "model_type"):
            free = self.free_settings
        mine, theirs = _state(found), _state(expected)
        if mine is None or theirs is None:
            if not _equal(found, expected):
                yield Difference(at, text_of(found), text_of(expected))
            return
        kept = [{name: value for name, value in state.items() if name not in free} for state in (mine, theirs)]
        yield from self._mapping(kept[0], kept[1], at, seen, depth)


def text_of(value: Any) -> str:
    """Return a value as a message quotes it: one line, cut."""
    if isinstance(value, types.FunctionType | types.MethodType | type):
        return _name(value)
    return " ".join(repr(value).split())[:80]


def hooks_in(table: Mapping[int, Any]) -> list[Any]:
    """Return the hooks of a table that can change what a forward pass computes."""
    return [hook for hook in table.values() if getattr(hook, "__module__", None) != CAPTURING]


def _tensors(mine: Mapping[str, Any], theirs: Mapping[str, Any], path: str) -> Iterator[Difference]:
    at = f"{path}." if path else ""
    for name in sorted(mine.keys() | theirs.keys()):
        if name not in mine or name not in theirs:
            yield Difference(at + name, *_presence(name in mine))
        elif type(mine[name]) is not type(theirs[name]):
            yield Difference(f"the class of {at}{name}", _name(type(mine[name])), _name(type(theirs[name])))


def _plain_tensor(found: Any, expected: Any, at: str) -> Iterator[Difference]:
    """Compare a tensor that no registry holds, and so no base state; skip it where the twin has no memory for it."""
    import torch

    alike = found.shape == expected.shape and found.dtype == expected.dtype
    if not alike or not (expected.is_meta or torch.equal(found.detach().cpu(), expected.detach().cpu())):
        yield Difference(at, f"a tensor {tuple(found.shape)}", "another one")


def _parts_of(function: Any) -> tuple[object, dict[str, Any]]:
    """Return the code of a function, and by name all other objects that change its results."""
    if isinstance(function, functools.partial):
        return functools.partial, {"of": function.func, "args": function.args, "keywords": function.keywords}
    if isinstance(function, types.MethodType):
        return function.__func__, {"self": function.__self__}
    cells = [cell.cell_contents for cell in function.__closure__ or () if cell is not None]
    return function.__code__, {"closure": cells, "defaults": function.__defaults__, "named": function.__kwdefaults__}


def _state(value: Any) -> Mapping[str, Any] | None:
    try:
        return dict(vars(value))
    except TypeError:
        return None


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _is_module(value: Any) -> bool:
    import torch

    return isinstance(value, torch.nn.Module)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | complex | str | bytes | set | frozenset | enum.Enum)


def _equal(found: Any, expected: Any) -> bool:
    if isinstance(found, float) and math.isnan(found):
        return math.isnan(expected)
    return bool(found == expected)


def _empty(value: Any) -> bool:
    """Whether an attribute says nothing: absent and empty are alike."""
    return value is None or (isinstance(value, dict | list | tuple | set | frozenset) and not value)


def _presence(found: bool) -> tuple[str, str]:
    return ("there", "nothing") if found else ("absent", "it")


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', repr(value))}"[:120]
