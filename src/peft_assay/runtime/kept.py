"""Lists that are kept of a governed model, so that a forward pass can be asked about in microseconds.

Walking a model anew costs a tenth of a small model's forward pass. So modules, their tables, attributes and tensors are
listed once, and a check compares the present objects with the listed ones, in loops that run in C. Only where they
differ is the difference examined: an honest change (the model moved to another device, a counter that counts no change)
is taken into the list, anything else is a `Finding`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter, itemgetter
from types import MethodType
from typing import Any

from peft_assay.runtime.likeness import FREE_ATTRIBUTES, FREE_GENERATION, FREE_SETTINGS, hooks_in, text_of

CONTAINERS = frozenset({"ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "BufferDict"})
"""Classes whose modules are never called."""
WITHOUT_MODE = CONTAINERS | {"Linear", "Embedding", "Identity", "SiLU", "LayerNorm", "RMSNorm"}
"""Classes that compute the same in train mode."""
CHECKS = {
    "scaling": "scale",
    "merged_adapters": "merged",
    "_active_adapter": "adapters",
    "active_adapter": "adapters",
    "_disable_adapters": "adapters",
    "_adapters_disabled": "adapters",
    "peft_config": "adapters",
}
"""Which check an attribute of PEFT's belongs to; any other: ``base``."""
REGISTRIES = ("_parameters", "_buffers", "_modules")
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
MAY_GROW = {
    **dict.fromkeys(("ModuleDict", "ModuleList"), ("_modules",)),
    **dict.fromkeys(("ParameterDict", "ParameterList", "BufferDict"), ("_parameters", "_buffers")),
}
"""Tables of containers that are read though they are empty: what is put there answers."""
UNREAD = {
    "torch.nn.modules.linear.Linear": frozenset({"in_features", "out_features"}),
    "peft.tuners.shadow.model.ShadowModel": frozenset(
        {"_seed_shadow_state", "_shadow_past_out", "_should_pack_shadow_cache"}
    ),
}
"""What a class keeps for its text alone (a linear layer's pass reads weight and bias), or writes in each pass before it
is read.
"""
_ATTRIBUTES = attrgetter("__dict__")
COMPILED = "_compiled_call_impl"
"""Attribute that PyTorch calls in the place of a module's own pass, hooks included."""
NAMES_ADAPTERS = frozenset({"_active_adapter", "active_adapter"})
PEFT_SETS = frozenset({"prepare_inputs_for_generation"})
"""Methods that PEFT puts on instances while it generates, and leaves there."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference from the certified state: the check that it belongs to, and its description."""

    check: str
    message: str


class Look:
    """One comparison: quick in the ordinary case; `explain` where something differs."""

    def changed(self) -> bool:
        """Return whether anything differs from the kept state."""
        raise NotImplementedError

    def explain(self) -> Finding | None:
        """Return the difference in words, or take an honest change into the list."""
        raise NotImplementedError

    def ask(self) -> Finding | None:
        """Compare, and return the difference in words."""
        return self.explain() if self.changed() else None


class Values(Look):
    """Attributes of some modules or objects, with the values that they had, by name."""

    def __init__(self, rows: Iterable[tuple[str, Mapping[str, Any], tuple[str, ...]]]) -> None:
        self.rows = [(at, values, names) for at, values, names in rows if names]
        self._list()

    def _list(self) -> None:
        self.getters = [(itemgetter(*names), values) for _, values, names in self.rows]
        self.kept = [tuple(_copy(values[name]) for name in names) for _, values, names in self.rows]
        self.quick: list[Any] = [kept[0] if len(kept) == 1 else kept for kept in self.kept]

    def changed(self) -> bool:
        try:
            return [getter(values) for getter, values in self.getters] != self.quick
        except (KeyError, RuntimeError, ValueError, TypeError):
            return True

    def explain(self) -> Finding | None:
        for (at, values, names), kept in zip(self.rows, self.kept, strict=True):
            for name, before in zip(names, kept, strict=True):
                found = values.get(name, "<absent>")
                if not _alike(found, before) and not (name in NAMES_ADAPTERS and _named(found) == _named(before)):
                    said = f"{text_of(found)}, and {text_of(before)} is certified"
                    return Finding(CHECKS.get(name, "base"), f"{at}{name} is {said}")
        self._list()
        return None


class Settings(Look):
    """Objects of settings, compared whole; `free` names may change."""

    def __init__(self, owners: Iterable[tuple[str, Any, frozenset[str]]]) -> None:
        self.rows = [(at, vars(owner), _copy(dict(vars(owner))), free) for at, owner, free in owners]

    def changed(self) -> bool:
        return any(live != kept for _, live, kept, _ in self.rows)

    def explain(self) -> Finding | None:
        for at, live, kept, free in self.rows:
            for name in sorted((live.keys() | kept.keys()) - free):
                if not _alike(live.get(name), kept.get(name)):
                    said = f"{text_of(live.get(name))}, and {text_of(kept.get(name))} is certified"
                    return Finding("base", f"{at}.{name} is {said}")
            kept.clear()
            kept.update(_copy(dict(live)))
        return None


class Hooks(Look):
    """Tables of hooks that were empty, and those few that were not."""

    def __init__(self, named: list[tuple[str, Any]], own: Callable[[Any], bool]) -> None:
        self.named, self.own = _called(named), own
        self._list()

    def _list(self) -> None:
        tables = [(at, table) for at, m in self.named for table in (m._forward_hooks, m._forward_pre_hooks)]  # noqa: SLF001
        self.empty = [table for _, table in tables if not table]
        self.filled = [(table, tuple(table.values())) for _, table in tables if table]

    def changed(self) -> bool:
        return any(self.empty) or any(tuple(table.values()) != kept for table, kept in self.filled)

    def explain(self) -> Finding | None:
        for at, module in self.named:
            for table in (module._forward_hooks, module._forward_pre_hooks):  # noqa: SLF001 - no other way
                foreign = [hook for hook in hooks_in(table) if not self.own(hook)]
                if foreign:
                    return Finding("hooks", f"a hook was put on {at or 'the model'}: {text_of(foreign[0])}")
        if not all(any(map(self.own, table.values())) for table, kept in self.filled if any(map(self.own, kept))):
            return Finding("hooks", "the hook by which the model asks for its permission was taken off")
        self._list()
        return None


class Mode(Look):
    """Whether every module that computes otherwise in train mode is in eval mode."""

    def __init__(self, named: list[tuple[str, Any]]) -> None:
        self.named = [(at, vars(m)) for at, m in named if type(m).__name__ not in WITHOUT_MODE]
        self.states = [values for _, values in self.named]

    def changed(self) -> bool:
        return any(map(itemgetter("training"), self.states))

    def explain(self) -> Finding | None:
        at = next((at for at, values in self.named if values["training"]), None)
        return None if at is None else Finding("mode", f"{at or 'the model'} is in train mode: call model.eval()")


class Sizes(Look):
    """The number of attributes of each module: an added attribute may stand in a method's place."""

    def __init__(self, named: list[tuple[str, Any]]) -> None:
        self.named = _called(named)
        self.states = [vars(m) for _, m in self.named]
        self._count()

    def _count(self) -> None:
        self.known = [frozenset(values) for values in self.states]
        self.sizes = list(map(len, self.states))
        self.compiled = [(values, values[COMPILED]) for values in self.states if COMPILED in values]

    def changed(self) -> bool:
        return list(map(len, self.states)) != self.sizes or any(
            values.get(COMPILED) is not before for values, before in self.compiled
        )

    def explain(self) -> Finding | None:
        for (at, module), known in zip(self.named, self.known, strict=True):
            values = vars(module)
            for name in sorted(values.keys() ^ known | ({COMPILED} & values.keys())):
                if name not in FREE_ATTRIBUTES and not _harmless(module, name, values.get(name)):
                    where = f"{at}.{name}" if at else name
                    done = "was put on the instance" if name in values else "was taken away"
                    return Finding("forward", f"{where} {done}, where the class has its own")
        self._count()
        return None


class Kinds(Look):
    """The class of each module, and the forward pass of each class."""

    def __init__(self, named: list[tuple[str, Any]]) -> None:
        self.named = _called(named)
        self.modules = [m for _, m in self.named]
        self.kinds = list(map(type, self.modules))
        self.distinct = list(dict.fromkeys(self.kinds))
        self.forwards = list(map(attrgetter("forward"), self.distinct))

    def changed(self) -> bool:
        return (
            list(map(type, self.modules)) != self.kinds
            or list(map(attrgetter("forward"), self.distinct)) != self.forwards
        )

    def explain(self) -> Finding | None:
        for kind, forward in zip(self.distinct, self.forwards, strict=True):
            if attrgetter("forward")(kind) is not forward:
                return Finding("forward", f"{kind.__qualname__}.forward was replaced in its class")
        for (at, module), kind in zip(self.named, self.kinds, strict=True):
            if type(module) is not kind:
                return Finding("forward", f"the class of {at or 'the model'} is {text_of(type(module))}")
        return None


class Registries(Look):
    """Which parameter, buffer and child is under which name."""

    def __init__(self, named: list[tuple[str, Any]], tensors: "Tensors") -> None:
        self.tensors = tensors
        rows = [
            (f"{at}." if at else "", table)
            for at, m in named
            for name, table in zip(REGISTRIES, (m._parameters, m._buffers, m._modules), strict=True)  # noqa: SLF001
            if table or name in MAY_GROW.get(type(m).__name__, ())
        ]
        self.places = [at for at, _ in rows]
        self.live = [table for _, table in rows]
        self.kept = [dict(table) for table in self.live]
        self._list()

    def _list(self) -> None:
        self.empty = [table for table in self.live if not table]
        self.filled = [table for table in self.live if table]
        self.before = [kept for kept in self.kept if kept]

    def changed(self) -> bool:
        try:
            return any(self.empty) or self.filled != self.before
        except RuntimeError:  # comparing two tensors gives no boolean
            return True

    def explain(self) -> Finding | None:
        for at, live, kept in zip(self.places, self.live, self.kept, strict=True):
            for name in sorted(live.keys() | kept.keys(), key=str):
                found, before = live.get(name), kept.get(name)
                if found is before and (name in live) == (name in kept):
                    continue
                if not self.tensors.stands_for(found, before):
                    done = (
                        "is another one" if name in live and name in kept else "is new" if name in live else "is gone"
                    )
                    return Finding("tensors" if name in kept else "adapters", f"{at}{name} {done}")
                kept[name] = found
        self._list()
        return None


class Tables(Look):
    """The dictionaries themselves that hold attributes, registries and hooks: another may be put in their place."""

    def __init__(self, named: list[tuple[str, Any]]) -> None:
        self.named = named
        self.modules = [module for _, module in named]
        self.states = list(map(vars, self.modules))
        self.read = itemgetter(*REGISTRIES, *HOOKS)
        self.tables = list(chain.from_iterable(map(self.read, self.states)))

    def changed(self) -> bool:
        try:
            # One that is equal now is as good; whatever is written to it later makes it another.
            return (
                list(map(_ATTRIBUTES, self.modules)) != self.states
                or list(chain.from_iterable(map(self.read, self.states))) != self.tables
            )
        except (KeyError, RuntimeError, ValueError, TypeError):
            return True

    def explain(self) -> Finding | None:
        for number, ((at, module), state) in enumerate(zip(self.named, self.states, strict=True)):
            if not _alike(vars(module), state):
                return Finding("forward", f"all attributes of {at or 'the model'} were replaced at once")
            for name, kept in zip((*REGISTRIES, *HOOKS), self.tables[5 * number :], strict=False):
                if not _alike(state.get(name), kept):
                    check = "hooks" if name in HOOKS else "tensors"
                    return Finding(check, f"{at}.{name} is another table" if at else f"{name} is another table")
        return None


class Tensors:
    """Every tensor with a sum over its bytes, which decides where anything else moved."""

    def __init__(self, named: Iterable[tuple[str, Any]]) -> None:
        from peft_assay_loading.contents import content_sum

        self.sum = content_sum
        self.named = list({id(tensor): (at, tensor) for at, tensor in named}.values())
        self.sums = {id(tensor): content_sum(tensor) for _, tensor in self.named}
        self.noisy: set[int] = set()
        """Tensors whose counter moves without a change: PEFT parametrizes fused experts for each forward pass."""

    def altered(self, chosen: set[int] | None = None) -> Iterator[Finding]:
        """Give each tensor (of those chosen by identity) that holds other bytes than certified."""
        for at, tensor in list(self.named):
            if (chosen is None or id(tensor) in chosen) and self.sum(tensor) != self.sums[id(tensor)]:
                yield Finding("tensors", f"{at} holds other values than the certified ones")

    def stands_for(self, found: Any, before: Any) -> bool:
        """Whether another tensor has the same content as the one it replaces; then it is listed instead."""
        if id(before) not in self.sums or type(found) is not type(before) or self.sum(found) != self.sums[id(before)]:
            return False
        self.sums[id(found)] = self.sums[id(before)]
        self.named = [(at, found if tensor is before else tensor) for at, tensor in self.named]
        return True


class Counters(Look):
    """The addresses of some tensors, and the number of writes to them."""

    def __init__(self, tensors: Tensors, numbers: Sequence[int]) -> None:
        self.tensors, self.numbers = tensors, numbers
        self._list()

    def _list(self) -> None:
        import torch

        self.held = [self.tensors.named[number][1] for number in self.numbers]
        self.counted = [t for t in self.held if id(t) not in self.tensors.noisy and not t.is_inference()]
        self.versions = list(map(attrgetter("_version"), self.counted))
        self.place = torch.Tensor.data_ptr
        self.places = list(map(self.place, self.held))

    def changed(self) -> bool:
        return (
            list(map(attrgetter("_version"), self.counted)) != self.versions
            or list(map(self.place, self.held)) != self.places
        )

    def explain(self) -> Finding | None:
        """Compare content. A counter that moved without a change is no longer read: the content is compared in the
        background.
        """
        moved = {id(t) for t, n in zip(self.counted, self.versions, strict=True) if t._version != n}  # noqa: SLF001
        placed = {id(t) for t, p in zip(self.held, self.places, strict=True) if t.data_ptr() != p}
        found = next(self.tensors.altered(moved | placed), None)
        if found is None:
            self.tensors.noisy |= moved - placed
            self._list()
        return found


def plain_rows(
    named: Iterable[tuple[str, Any]], standard: frozenset[str], tuned: tuple[str, ...]
) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """Give, for each module that has any, its attributes beyond those of every module; but tensors and objects.

    On PEFT's layers those of `tuned` are looked at elsewhere; on others they are something else (attention's scaling).
    """
    for at, module in named:
        values, unread = vars(module), FREE_ATTRIBUTES | UNREAD.get(_path_of(type(module)), frozenset())
        elsewhere = standard | unread | (set(tuned) if "_active_adapter" in values else set())
        names = (name for name in values if name not in elsewhere)
        yield f"{at}." if at else "", values, tuple(name for name in names if _comparable(values[name]))


def tensors_of(named: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Give every tensor that a module holds: registered, as a plain attribute, or in a dictionary of its own."""
    import torch

    for at, module in named:
        values = vars(module)
        held = [values, *(value for value in values.values() if isinstance(value, dict))]
        for table in held:
            for name, value in table.items():
                if isinstance(value, torch.Tensor) and not value.is_meta:
                    yield f"{at}.{name}" if at else str(name), value


def settings_rows(named: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any, frozenset[str]]]:
    """Give each configuration and generation configuration that a part of the model holds, once."""
    seen: set[int] = set()
    for at, module in named:
        for name, free in (("config", FREE_SETTINGS), ("generation_config", FREE_GENERATION)):
            owner = vars(module).get(name)
            if owner is not None and hasattr(owner, "__dict__") and id(owner) not in seen:
                seen.add(id(owner))
                yield f"{at}.{name}" if at else name, owner, free | {"pad_token_id"}


def _called(named: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(at, module) for at, module in named if type(module).__name__ not in CONTAINERS]


def _path_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _comparable(value: Any) -> bool:
    import torch

    return not isinstance(value, torch.Tensor | torch.nn.Module)


def _copy(value: Any) -> Any:
    """Return a copy of the content of an object that can be changed in place, however deep."""
    if type(value) is dict:
        return {name: _copy(one) for name, one in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_copy, value))
    return set(value) if type(value) is set else value


def _named(adapters: Any) -> Any:
    """Return the names of adapters as a list: PEFT writes one name by itself too."""
    return [adapters] if isinstance(adapters, str) else adapters


def _alike(found: Any, before: Any) -> bool:
    try:
        return found is before or bool(found == before)
    except (RuntimeError, ValueError, TypeError):
        return False


def _harmless(module: Any, name: str, value: Any) -> bool:
    """Whether an attribute that an instance got, or lost, is in no method's place; or is that method."""
    if name == COMPILED:
        # Module.compile() leaves here what torch.compile made of this module's own pass: its hooks still ask.
        return value is None or getattr(value, "_torchdynamo_orig_callable", None) == module._call_impl  # noqa: SLF001
    if not callable(getattr(type(module), name, None)):
        return True
    own = isinstance(value, MethodType) and value.__func__.__module__.split(".", 1)[0] in ("peft", "transformers")
    if own and (name in PEFT_SETS or value.__func__ is getattr(type(module), name)):
        return True
    return value is None and name not in vars(module) and name != "forward"
