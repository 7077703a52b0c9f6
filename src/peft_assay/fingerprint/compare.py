"""Equal, near, crafted or other: the comparison of an adapter with a withdrawn adapter's fingerprint.

Distances are in units of the withdrawn update's norm, per operation and over all modules. Bounds were measured on
adapters of one base (docs/withdrawal.md has the figures): rewritings up to the rounding of float32 lie below 8e-6, the
nearest other adapter, a checkpoint of the same run, at 7e-5.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from peft_assay.fingerprint.fingerprint import Fingerprint
from peft_assay.fingerprint.interface import SIMILAR, Operation, Word
from peft_assay.fingerprint.sketch import COLUMNS, PartPrint, Prints

EQUAL = 2e-5
"""A sketch estimates a distance to about a third: what lies at 8e-6 may read as 1.1e-5."""
NEAR_DISTANCE = 0.1
NEAR_COSINE = 0.85
NEAR_SPECTRUM = 0.08
NEAR_SIMILAR = 1e-3
"""Distance for operations whose numbers are mostly the base's own."""
CRAFTED_SPECTRUM = 1e-3
_NOTHING = np.zeros((COLUMNS, COLUMNS))


@dataclass(frozen=True, slots=True)
class Likeness:
    """The comparison of one operation of an adapter with the withdrawn one's."""

    distance: float
    """The distance, estimated by the sketch."""
    cosine: float
    spectral: float
    """The distance of spectra, which is never more than the true distance."""
    whole: bool
    """The spectra were compared value by value, not by their norms alone."""


def may_equal(withdrawn: Fingerprint, prints: Prints) -> bool:
    """Whether `prints`, with or without sketches, can be equal: their spectra say no without any sketch."""
    return any(_spectra_equal(variant, prints) for variant in withdrawn.variants)


def judge(withdrawn: Fingerprint, prints: Prints, sketch: int = 0) -> Word:
    """Return how an adapter relates to the withdrawn one; `sketch` is the index of its sketches under the withdrawn
    one's nonce.
    """
    if any(_equal(variant, prints, sketch) for variant in withdrawn.variants):
        return Word.EQUAL
    found = likenesses(withdrawn.variants[0], prints, sketch)
    acting = {operation: like for operation, like in found.items() if operation not in SIMILAR}
    if not acting:
        return Word.NEAR if all(like.distance <= NEAR_SIMILAR for like in found.values()) else Word.OTHER
    words = {_word(operation, like, apart=withdrawn.apart) for operation, like in acting.items()}
    return next(word for word in (Word.NEAR, Word.CRAFTED, Word.OTHER) if word in words)


def likenesses(withdrawn: Prints, prints: Prints, sketch: int = 0) -> dict[Operation, Likeness]:
    """Return the likeness for each operation of the withdrawn adapter, over its own modules: other modules of the
    adapter do not count.
    """
    own = {key: printed for key, printed in prints.items() if key in withdrawn}
    return {operation: _likeness(withdrawn, own, operation, sketch) for operation in _operations(withdrawn)}


def _word(operation: Operation, like: Likeness, *, apart: bool) -> Word:
    if like.distance <= NEAR_DISTANCE:
        return Word.NEAR
    if operation is not Operation.ADD or not apart:
        return Word.OTHER
    if like.cosine >= NEAR_COSINE:
        return Word.NEAR
    if like.whole and like.spectral <= CRAFTED_SPECTRUM:
        return Word.CRAFTED
    return Word.NEAR if like.whole and like.spectral <= NEAR_SPECTRUM else Word.OTHER


def _equal(variant: Prints, prints: Prints, sketch: int) -> bool:
    if not _spectra_equal(variant, prints):
        return False
    return all(_likeness(variant, prints, operation, sketch).distance <= EQUAL for operation in _operations(variant))


def _spectra_equal(variant: Prints, prints: Prints) -> bool:
    operations = _operations(variant)
    if operations != _operations(prints):
        return False
    return all(_spectral(variant, prints, operation)[0] <= EQUAL for operation in operations)


def _operations(prints: Prints) -> frozenset[Operation]:
    return frozenset(operation for _, operation in prints)


def _likeness(withdrawn: Prints, prints: Prints, operation: Operation, sketch: int) -> Likeness:
    spectral, whole = _spectral(withdrawn, prints, operation)
    pairs = [
        (
            _NOTHING if (one := withdrawn.get(key)) is None else one.sketches[0],
            _NOTHING if (other := prints.get(key)) is None or not _fit(one, other) else other.sketches[sketch],
        )
        for key in _keys(withdrawn, prints, operation)
    ]
    a, b = (np.concatenate([pair[side].ravel() for pair in pairs]) for side in (0, 1))
    norm, other_norm = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    distance = float(np.linalg.norm(a - b)) / norm if norm else math.inf
    cosine = float(a @ b) / (norm * other_norm) if norm and other_norm else 0.0
    return Likeness(distance, cosine, spectral, whole)


def _fit(one: PartPrint | None, other: PartPrint) -> bool:
    """Return whether two sketches have the same shape, or `one` is absent; sketches of other shapes were made with
    other signs.
    """
    return one is None or one.shape == other.shape


def _keys(withdrawn: Prints, prints: Prints, operation: Operation) -> list[Any]:
    return sorted(key for key in withdrawn.keys() | prints.keys() if key[1] is operation)


def _spectral(withdrawn: Prints, prints: Prints, operation: Operation) -> tuple[float, bool]:
    """Return the distance of two spectra, and whether they were compared value by value."""
    squares, total, whole = 0.0, 0.0, False
    for key in _keys(withdrawn, prints, operation):
        one, other = withdrawn.get(key), prints.get(key)
        by_value = all(print_of is None or print_of.whole for print_of in (one, other))
        values = [_spectrum(print_of, by_value=by_value) for print_of in (one, other)]
        length = max(map(len, values))
        a, b = (np.pad(found, (0, length - len(found))) for found in values)
        squares += float(((a - b) ** 2).sum())
        total += float((a**2).sum())
        whole = whole or (by_value and int(np.count_nonzero(a)) > 1)
    return (math.sqrt(squares / total) if total else math.inf), whole


def _spectrum(printed: PartPrint | None, *, by_value: bool) -> Any:
    if printed is None:
        return np.zeros(1)
    return printed.spectrum if by_value else np.array([float(np.linalg.norm(printed.spectrum))])


def first_of(words: Iterable[Word]) -> Word:
    """Return the most serious of `words`."""
    found = set(words)
    return next((word for word in Word if word in found), Word.OTHER)
