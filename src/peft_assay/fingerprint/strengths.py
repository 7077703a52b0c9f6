"""The strength of an adapter in each part: the same for all rewritings of its factors, and small enough to be kept.

Each attempt at a certification keeps them, so that a rotated or rescaled copy is counted as the same function. They are
no evidence of equality, as a fingerprint is: two adapters may agree in every strength and differ in direction.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from peft_assay.core.artifact import WEIGHTS_FILE
from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest, parse_digest
from peft_assay.core.errors import DocumentError
from peft_assay.fingerprint.interface import Uncomputable
from peft_assay.fingerprint.sketch import prints_of

ALIKE = 2e-3
"""Relative difference of two strengths that rounding to half precision explains. Another strength of the whole adapter
that is larger than this is another function.
"""


@dataclass(frozen=True, slots=True)
class Strengths:
    """Norms of the parts of an adapter's function."""

    parts: Digest
    """The digest of the parts' names, operations and shapes, in order."""
    values: tuple[float, ...]
    """One norm for each part, as float32 rounds it."""

    def like(self, other: Self) -> bool:
        """Whether both have the same parts, with strengths that differ by rounding only."""
        if self.parts != other.parts or len(self.values) != len(other.values):
            return False
        pairs = zip(self.values, other.values, strict=True)
        return all(abs(one - two) <= ALIKE * max(one, two) for one, two in pairs)

    def text(self) -> str:
        """Return the values as text: base64 of little-endian float32."""
        return base64.b64encode(np.array(self.values, "<f4").tobytes()).decode()


def strengths_of(files: Mapping[str, bytes]) -> Strengths:
    """Return the strengths of the adapter in `files` (path -> bytes); raises Uncomputable."""
    prints = prints_of(files)
    keys = sorted(prints)
    named = [[module, operation.value, *prints[module, operation].shape] for module, operation in keys]
    with np.errstate(over="ignore"):
        values = np.array([float(np.linalg.norm(prints[key].spectrum)) for key in keys]).astype("<f4")
    if not np.isfinite(values).all():
        raise Uncomputable("its numbers are too large to be compared", where=WEIGHTS_FILE)
    return Strengths(canonical_digest(named), tuple(float(value) for value in values))


def read_strengths(parts: str, text: str, *, where: str) -> Strengths:
    """Return the strengths that `text` writes; raises DocumentError for anything but finite numbers, one or more."""
    try:
        of = parse_digest(parts)
        values = np.frombuffer(base64.b64decode(text, validate=True), "<f4").astype(float)
    except (binascii.Error, ValueError):
        raise DocumentError("strengths are not base64 of whole float32 numbers with their parts", where=where) from None
    if not len(values) or not np.isfinite(values).all() or (values < 0).any():
        raise DocumentError("strengths are not finite numbers of 0 or more", where=where)
    return Strengths(of, tuple(float(value) for value in values))
