"""weights.nonfinite: tensors with a NaN or an infinity, as stored or once cast to the dtype that serves.

weights.unservable counts the same, and other losses of a cast, for every dtype that engines serve in: at inspection no
dtype is declared yet, and weights that are sound in float32 may be noise in float16.

Casting is where it hurts unseen: 70000 is finite in float32 and infinite in float16. For every IEEE-like format the
bits without the sign grow with the magnitude, and infinities and NaNs are the largest, so one comparison of unsigned
integers answers both questions exactly. Thresholds are the first magnitude that rounds to infinity (half to even);
float64 is cast as torch does it, by way of float32.
"""

from collections.abc import Iterable, Iterator

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.product import CASTS
from peft_assay.observe.static.reading import read_weights
from peft_assay.observe.static.weights import Sighting

FIRST_INFINITE = {
    "F8_E4M3": {"float32": 0x7F, "float16": 0x7F, "bfloat16": 0x7F, "float64": 0x7F},
    "F8_E5M2": {"float32": 0x7C, "float16": 0x7C, "bfloat16": 0x7C, "float64": 0x7C},
    "F16": {"float32": 0x7C00, "float16": 0x7C00, "bfloat16": 0x7C00, "float64": 0x7C00},
    "BF16": {"float32": 0x7F80, "float16": 0x4780, "bfloat16": 0x7F80, "float64": 0x7F80},
    "F32": {"float32": 0x7F800000, "float16": 0x477FF000, "bfloat16": 0x7F7F8000, "float64": 0x7F800000},
    "F64": {
        "float32": 0x47EFFFFFF0000000,  # 2**128 - 2**103
        "float16": 0x40EFFDFFF0000000,  # halfway from the float32 before 65520 to 65520
        "bfloat16": 0x47EFEFFFF0000000,  # halfway from the float32 before 2**128 - 2**119 to it
        "float64": 0x7FF0000000000000,
    },
}
"""Per stored dtype and serving dtype: smallest bits without sign that are not finite once cast."""

FIRST_INFINITE_WHOLE = 65520
"""Smallest whole number that float16 rounds to infinity."""

_ALIASES = {"fp32": "float32", "fp16": "float16", "half": "float16", "bf16": "bfloat16", "fp64": "float64"}


def serving_dtype(name: str) -> str:
    """The name torch has for a dtype; raises Unreadable for one that no threshold is known for."""
    known = _ALIASES.get(name, name).removeprefix("torch.")
    if known not in FIRST_INFINITE["F32"]:
        raise Unreadable(f"the context's dtype {name!r} is not one of {', '.join(FIRST_INFINITE['F32'])}")
    return known


def is_nonfinite(dtype: str, magnitude: int, serving: str) -> bool:
    """Whether a tensor of `dtype` whose largest magnitude (bits without sign) this is has a value that is not finite.

    Once cast to `serving`, that is; of integers only float16 makes infinities.
    """
    thresholds = FIRST_INFINITE.get(dtype)
    if thresholds is None:
        return serving == "float16" and magnitude >= FIRST_INFINITE_WHOLE
    return magnitude >= thresholds[serving]


SERVED = ("float32", "bfloat16", "float16")
"""The dtypes that engines serve in."""
LOST = 0.5
"""The share of an update's norm from which on a cast makes another adapter of it."""
_SHOWN = 5


class NonfiniteProbe:
    """weights.nonfinite: how many tensors; weights.unservable: dtypes; the reasons name the first few tensors."""

    id = "nonfinite"
    version = "3"
    terms = ("weights.nonfinite", "weights.unservable")

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable when there are no canonical weights to look at, or the serving dtype is unknown."""
        dtype = serving_dtype(subject.context.engine.dtype)
        seen = read_weights(subject)
        found = _nonfinite(seen, dtype)
        reason = f"as {dtype}: " + ", ".join(found[:_SHOWN]) if found else None
        yield ok(self.terms[0], len(found), by=ObservedBy.INTAKE, reason=reason)
        stored = set(_nonfinite(seen, "float64"))
        lost = {served: list(_lost(seen, served, stored)) for served in SERVED}
        named = "; ".join(f"{served}: " + ", ".join(what[:_SHOWN]) for served, what in lost.items() if what)
        yield ok(
            self.terms[1], tuple(served for served in SERVED if lost[served]), by=ObservedBy.INTAKE,
            reason=named or None,
        )  # fmt: skip


def _nonfinite(seen: Sighting, dtype: str) -> list[str]:
    held = [
        tensor for tensor in seen.tensors if tensor.begin < tensor.end
    ]  # AdaLoRA may have pruned a module to nothing
    return [tensor.name for tensor in held if is_nonfinite(tensor.dtype, seen.magnitudes[tensor.name], dtype)]


def _lost(seen: Sighting, served: str, stored: set[str]) -> Iterator[str]:
    """Return tensors that are finite as stored and not once cast; and modules that lose `LOST` or more of their update
    by a cast.
    """
    yield from (f"{name} overflows" for name in _nonfinite(seen, served) if name not in stored)
    if served in CASTS:
        for module, update in seen.updates.items():
            if update.cast_change[served] >= LOST:
                yield f"the update of {module} is lost"
