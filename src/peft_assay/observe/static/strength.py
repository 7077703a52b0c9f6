"""strength.*: how strong the configuration, and DoRA's magnitudes, make the adapter where it is strongest.

A reader sees `lora_alpha` and `r`, but PEFT computes a scale for each module from more fields: an expression of
`alpha_pattern` can give one module 50 where the configuration seems to say 2.
"""

import math
from collections.abc import Iterable, Mapping

from peft_assay.core.observation import Observation, ObservedBy, Status, failed, ok
from peft_assay.observe.interface import BaseFacts, StaticSubject, Unreadable
from peft_assay.observe.static.header import Tensor
from peft_assay.observe.static.reading import read_configuration, read_weights
from peft_assay.observe.static.scales import PREFIX, Scales, scales

MAGNITUDE = ".lora_magnitude_vector"
MAX_NAMED = 20
"""Overlaps that are named; the last line counts the others."""


class StrengthProbe:
    """strength.*; reasons name the module that a value is about."""

    id = "strength"
    version = "1"
    terms = (
        "strength.beyond_declared",
        "strength.largest",
        "strength.magnitude",
        "strength.overlaps",
        "strength.relative",
    )

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Return the terms. Raises Unreadable when configuration or weights have more than one reading, or a scale is
        no number.
        """
        configuration = read_configuration(subject)
        seen = read_weights(subject)
        found = scales(configuration, seen.tensors, seen.lengths)
        module, largest = _strongest(found)
        where = module or None
        yield ok("strength.largest", largest, by=ObservedBy.INTAKE, reason=where)
        yield ok("strength.relative", largest / found.usual, by=ObservedBy.INTAKE, reason=where)
        # AdaLoRA's scales grow with each rank that training pruned: this is usual for the type, and hides nothing
        hides = configuration.peft_type != "ADALORA"
        beyond = _ratio(largest, abs(found.declared)) if hides else 1.0
        yield ok("strength.beyond_declared", beyond, by=ObservedBy.INTAKE, reason=where)
        yield ok("strength.overlaps", _named(found.overlaps), by=ObservedBy.INTAKE)
        yield _magnitude(seen.tensors, seen.lengths, subject.context.base)


def _strongest(found: Scales) -> tuple[str, float]:
    """Return the module with the largest scale; the configuration's scale, where that of no module is known."""
    candidates = {module: abs(scale) for module, scale in found.modules.items()} or {"": abs(found.declared)}
    return max(candidates.items(), key=lambda one: one[1])


def _ratio(largest: float, declared: float) -> float:
    if declared == 0:
        return 1.0 if largest == 0 else float(2**53)
    return max(1.0, largest / declared)


def _named(overlaps: tuple[str, ...]) -> tuple[str, ...]:
    rest = len(overlaps) - MAX_NAMED
    return overlaps if rest <= 0 else (*overlaps[:MAX_NAMED], f"and {rest} more")


def _magnitude(tensors: tuple[Tensor, ...], lengths: Mapping[str, float], served: BaseFacts | None) -> Observation:
    """Return the largest ratio of DoRA's magnitudes, the norms of the adapted weight's rows, to the base's norm."""
    term = "strength.magnitude"
    stored = [tensor.name for tensor in tensors if MAGNITUDE in tensor.name]
    if not stored:
        return ok(term, 1.0, by=ObservedBy.INTAKE)
    if served is None:
        return Observation(term, Status.NOT_APPLICABLE, None, ObservedBy.INTAKE, "no base to compare with")
    largest, where = 0.0, ""
    for name in stored:
        module = name.removeprefix(PREFIX).partition(MAGNITUDE)[0]
        base, length = served.norms.get(f"{module}.weight"), lengths.get(name)
        if base is None or length is None:
            return failed(
                term, f"{module}: the base or the adapter has no floating-point tensor of it", by=ObservedBy.INTAKE
            )
        ratio = length / base if base > 0 else math.inf
        if ratio >= largest:
            largest, where = ratio, module
    if not math.isfinite(largest):
        raise Unreadable(f"{where}: its magnitude over the base's norm is not finite")
    return ok(term, largest, by=ObservedBy.INTAKE, reason=where)
