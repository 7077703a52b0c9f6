"""delta.*: what a low-rank adapter adds to the base's weights, per module s * B * A, from its own numbers alone.

A published adapter has updates of modest norm spread over several directions. One whose whole norm lies in a single
direction, that is far larger than the weights it is added to, that is exactly zero, or that changes when it is cast, is
worth a look; none of this says by itself that it is bad (see docs/probes/delta.md).
"""

import math
from collections.abc import Callable, Iterable, Mapping

from peft_assay.core.observation import Observation, ObservedBy, Status, failed, ok
from peft_assay.observe.interface import BaseFacts, StaticSubject, Unreadable
from peft_assay.observe.static.nonfinite import serving_dtype
from peft_assay.observe.static.product import CASTS
from peft_assay.observe.static.reading import Configuration, read_configuration, read_weights
from peft_assay.observe.static.scales import MAX_MATCHES, PREFIX, expression, number
from peft_assay.observe.static.weights import Sighting

FAMILY = frozenset({"LORA"})
"""Types whose update is s * B * A with the names that PEFT's LoRA has."""


def norms(configuration: Configuration, seen: Sighting) -> dict[str, float]:
    """Norm of every module's scaled update; raises Unreadable when one was not computed."""
    if seen.updates_problem is not None:
        raise Unreadable(seen.updates_problem)
    if not seen.updates:
        raise Unreadable("there are no pairs of floating-point factors")
    if len(seen.updates) * len(configuration.mapping("alpha_pattern")) > MAX_MATCHES:
        raise Unreadable("alpha_pattern has too many expressions for this many modules")
    scale = scaling(configuration)
    return {
        module: abs(scale(module.removeprefix(PREFIX), update.rank)) * update.norm
        for module, update in seen.updates.items()
    }


def scaling(configuration: Configuration) -> Callable[[str, int], float]:
    """The factor s of a module (by its path in the base) and its rank: alpha / r, or alpha / sqrt(r) with rsLoRA.

    Keys of alpha_pattern are expressions that must match the end of the path, as PEFT reads them; the first wins.
    """
    default = number("lora_alpha", configuration.get("lora_alpha"))
    patterns = [
        (expression("alpha_pattern", key), number(f"alpha_pattern.{key}", value))
        for key, value in configuration.mapping("alpha_pattern").items()
    ]
    root = bool(configuration.get("use_rslora"))

    def scale(module: str, rank: int) -> float:
        alpha = next((value for pattern, value in patterns if pattern.fullmatch(module)), default)
        return alpha / (math.sqrt(rank) if root else rank)

    return scale


class DeltaProbe:
    """delta.*, over all modules; reasons name the first few that the value is about."""

    id = "delta"
    version = "2"
    terms = (
        "delta.cast_change",
        "delta.effective_rank",
        "delta.largest_norm",
        "delta.relative_norm",
        "delta.spectral_share",
        "delta.zero_modules",
    )

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Not applicable to other types; raises Unreadable when the update cannot be computed."""
        configuration = read_configuration(subject)
        if configuration.peft_type not in FAMILY:
            for term in self.terms:
                reason = f"the update of {configuration.peft_type} is not s * B * A"
                yield Observation(term, Status.NOT_APPLICABLE, None, ObservedBy.INTAKE, reason)
            return
        seen = read_weights(subject)
        by_module = norms(configuration, seen)
        served = serving_dtype(subject.context.engine.dtype)
        found = seen.updates
        changes = {m: update.cast_change[served] if served in CASTS else 0.0 for m, update in found.items()}
        yield _largest("delta.cast_change", changes)
        ranks = [update.effective_rank for update in found.values()]
        yield ok("delta.effective_rank", sum(ranks) / len(ranks), by=ObservedBy.INTAKE)
        yield _largest("delta.largest_norm", by_module)
        yield _relative(by_module, subject.context.base)
        yield _largest("delta.spectral_share", {module: update.spectral_share for module, update in found.items()})
        zero = tuple(module for module, norm in by_module.items() if norm == 0)
        yield ok("delta.zero_modules", zero, by=ObservedBy.INTAKE)


def _largest(term: str, values: Mapping[str, float]) -> Observation:
    module = max(values, key=lambda name: values[name])
    if not math.isfinite(values[module]):
        return failed(term, f"{module}: {term} is not finite", by=ObservedBy.INTAKE)
    return ok(term, values[module], by=ObservedBy.INTAKE, reason=module)


def _relative(by_module: Mapping[str, float], served: BaseFacts | None) -> Observation:
    if served is None:
        reason = "no base to compare with"
        return Observation("delta.relative_norm", Status.NOT_APPLICABLE, None, ObservedBy.INTAKE, reason)
    relative: dict[str, float] = {}
    for module, norm in by_module.items():
        base = served.norms.get(module.removeprefix(PREFIX) + ".weight")
        if base is None:
            reason = f"{module}: the base has no floating-point tensor of this module"
            return failed("delta.relative_norm", reason, by=ObservedBy.INTAKE)
        relative[module] = norm / base if base > 0 else math.inf if norm else 0.0
    return _largest("delta.relative_norm", relative)
