r"""The factor by which PEFT multiplies an adapter's update, module by module, as PEFT 0.21.2 computes it.

A key of `alpha_pattern` or `rank_pattern` is an expression that must match the end of a module's path from a dot on;
the first that matches counts, and later ones do not. LoRA divides alpha by the rank, or by its root with rsLoRA.
Types with a field of their own for it are listed here with PEFT's defaults, because their units differ: 150 is ordinary
for FourierFT, and extreme for LoRA.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from peft_assay.observe.interface import Unreadable
from peft_assay.observe.static import linear
from peft_assay.observe.static.header import Tensor
from peft_assay.observe.static.reading import Configuration, is_number

MAX_MATCHES = 2_000_000
"""Most expressions of patterns times modules."""
PREFIX = "base_model.model."
_READ_OTHERWISE = re.compile(r"\{,[0-9]*\}|\[:")
"""Syntax that Python, and so PEFT, reads in another way than re2: a repetition without a lower limit, and classes by
name."""


@dataclass(frozen=True, slots=True)
class Family:
    """The fields by which a type declares its scale."""

    alpha: str
    """The field that the update is multiplied with."""
    rank: str | None = None
    """The field that it is divided by; None: it is the factor itself."""
    alphas: str | None = None
    """The field with alphas for single modules."""
    ranks: str | None = None
    more: str | None = None
    """A field that is added to the rank."""
    root: str | None = None
    """The field that asks to divide by the root of the rank."""


FAMILIES: Mapping[str, Family] = {
    "LORA": Family("lora_alpha", "r", "alpha_pattern", "rank_pattern", root="use_rslora"),
    "LOHA": Family("alpha", "r", "alpha_pattern", "rank_pattern"),
    "LOKR": Family("alpha", "r", "alpha_pattern", "rank_pattern"),
    "ADALORA": Family("lora_alpha", "init_r"),
    "DELORA": Family("delora_lambda", "r", "lambda_pattern", "rank_pattern"),
    "GRALORA": Family("alpha", "r", more="hybrid_r"),
    "RANDLORA": Family("randlora_alpha", "r"),
    "PSOFT": Family("psoft_alpha", "r"),
    "DEFT": Family("alpha", "r"),
    "SUPERTUNING": Family("lora_alpha", "r"),
    "SHADOW": Family("shadow_alpha"),
    "FOURIERFT": Family("scaling"),
    "WAVEFT": Family("scaling"),
    "LILY": Family("scaling"),
    "PEANUT": Family("scaling"),
    "XLORA": Family("global_scaling_weight"),
}
"""Types whose update is multiplied by a number from the configuration; all others multiply by 1."""


@dataclass(frozen=True, slots=True)
class Scales:
    """The scales of all modules according to the configuration."""

    declared: float
    """The scale without patterns."""
    usual: float
    """The scale with PEFT's defaults of the type."""
    modules: Mapping[str, float] = field(default_factory=dict)
    overlaps: tuple[str, ...] = ()
    """Modules that several expressions match with different values."""


def scales(configuration: Configuration, tensors: Iterable[Tensor], lengths: Mapping[str, float]) -> Scales:
    """Return the scales of the modules that `tensors` belong to; raises Unreadable for a configuration with more than
    one reading.

    `lengths`: norms of tensors, by name. DeLoRA's factor is one of them, and not the configuration's initial value.
    """
    family = FAMILIES.get(configuration.peft_type)
    if family is None:
        return Scales(1.0, 1.0)
    modules = list(dict.fromkeys(name for tensor in tensors if (name := _module(tensor.name))))
    declared = _over(configuration, family, _alpha(configuration, family), _rank(configuration, family))
    usual = _usual(configuration, family)
    if configuration.peft_type == "ADALORA":
        return Scales(declared, usual, dict(_pruned(configuration, declared)))
    alpha_of = _patterns(configuration, family.alphas, len(modules))
    rank_of = _patterns(configuration, family.ranks, len(modules))
    found: dict[str, float] = {}
    overlaps = []
    for module, path in [(name, path) for name in modules for path in _paths(configuration, name)]:
        alphas, its_ranks = alpha_of(path), rank_of(path)
        alpha = lengths.get(f"{PREFIX}{module}.delora_lambda")
        if alpha is None:
            alpha = alphas[0][1] if alphas else _alpha(configuration, family)
        rank = its_ranks[0][1] if its_ranks else _rank(configuration, family)
        found[module] = max(found.get(module, 0.0), _over(configuration, family, alpha, rank), key=abs)
        for name, met in ((family.alphas, alphas), (family.ranks, its_ranks)):
            if len({value for _, value in met}) > 1:
                overlaps.append(f"{path}: {name} {', '.join(f'{key[:40]!r} says {value:g}' for key, value in met)}")
    return Scales(declared, usual, found, tuple(overlaps))


def _paths(configuration: Configuration, module: str) -> list[str]:
    """Return the paths that PEFT matches expressions against: the module's, or those of its parameters in
    `target_parameters`.
    """
    found = []
    for target in configuration.names("target_parameters"):
        parent, _, parameter = target.rpartition(".")
        if not parent or f".{module}".endswith(f".{parent}"):
            found.append(f"{module}.{parameter}")
    return found or [module]


Matches = Callable[[str], list[tuple[str, float]]]
"""The expressions that match a module, in the order in which they count, each with its value."""


def _patterns(configuration: Configuration, name: str | None, modules: int) -> Matches:
    written = {} if name is None else configuration.mapping(name)
    if len(written) * modules > MAX_MATCHES:
        raise Unreadable(f"{name} has too many expressions for this many modules")
    compiled = [(key, expression(str(name), key), number(f"{name}.{key}", value)) for key, value in written.items()]
    return lambda module: [(key, value) for key, pattern, value in compiled if pattern.fullmatch(module)]


def expression(field_name: str, key: str) -> Any:
    """Return the expression that PEFT makes of a key of a pattern; raises Unreadable."""
    if _READ_OTHERWISE.search(key):
        raise Unreadable(
            f"{field_name}: {key[:80]!r} has '{{,n}}' or '[:', which readers of expressions read in two ways"
        )
    try:
        linear.compile_linear(key)  # each expression must be valid alone: `a)|(b` would leave the parentheses around it
        return linear.compile_linear(rf"(.*\.)?({key})")
    except linear.error:
        raise Unreadable(f"{field_name}: {key[:80]!r} is not an expression that takes linear time") from None


def number(name: str, value: Any) -> float:
    """Return a finite number; raises Unreadable."""
    try:
        if is_number(value) and math.isfinite(value):
            return float(value)
    except OverflowError:
        pass
    raise Unreadable(f"{name} is not a number")


def _alpha(configuration: Configuration, family: Family) -> float:
    value = configuration.get(family.alpha)
    if value is None and configuration.peft_type in {"DEFT", "SUPERTUNING"}:  # None: as PEFT computes it from the rank
        return _rank(configuration, family) * (2.0 if configuration.peft_type == "SUPERTUNING" else 1.0)
    return number(family.alpha, value)


def _rank(configuration: Configuration, family: Family) -> float:
    value = None if family.rank is None else configuration.get(family.rank)
    return 1.0 if value is None else number(str(family.rank), value)


def _over(configuration: Configuration, family: Family, alpha: float, rank: float) -> float:
    if family.more is not None:
        rank += number(family.more, configuration.get(family.more) or 0)
    if rank <= 0:
        raise Unreadable(f"{family.rank} is not above 0")
    scale = alpha / (math.sqrt(rank) if family.root and configuration.get(family.root) else rank)
    if not math.isfinite(scale):
        raise Unreadable(f"{family.alpha} over {family.rank} is not finite")
    return scale


def _usual(configuration: Configuration, family: Family) -> float:
    plain = Configuration(configuration.peft_type, configuration.row, {})
    return _over(plain, family, _alpha(plain, family), _rank(plain, family))


def _pruned(configuration: Configuration, declared: float) -> Iterable[tuple[str, float]]:
    """Yield AdaLoRA's scales: the divisor is the rank that training left a module, by the kept ranks in
    `rank_pattern`.
    """
    alpha = number("lora_alpha", configuration.get("lora_alpha"))
    started = number("init_r", configuration.get("init_r"))
    for name, kept in configuration.mapping("rank_pattern").items():
        rank = sum(map(bool, kept)) if isinstance(kept, list) else kept
        left = number(f"rank_pattern.{name}", rank)
        if left > 0:  # an alpha of 0 or less means the rank that it began with
            yield name, (alpha if alpha > 0 else started) / left
    if alpha <= 0:
        yield "", 1.0
    else:
        yield "", declared


def _module(tensor: str) -> str | None:
    """Return the path in the base of the module that a tensor adapts: PEFT matches patterns against it."""
    before, found, _ = tensor.removeprefix(PREFIX).partition(".lora_")
    for mark in (".hada_", ".lokr_", ".delora_", ".gralora_", ".randlora_", ".psoft_", ".deft_", ".supertuning_"):
        if not found:
            before, found, _ = tensor.removeprefix(PREFIX).partition(mark)
    return before.removesuffix(".base_layer") if found else None
