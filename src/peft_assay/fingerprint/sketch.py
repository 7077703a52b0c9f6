r"""A sketch and a spectrum of each part: updates are compared by these, without the updates themselves.

The sketch is :math:`U^T \Delta W V` with columns of random signs, drawn from a nonce by SHAKE-256, so that every
machine draws the same: 64 linear equations of the update, and the norm of a difference of sketches estimates the norm
of the difference. An adversary with the nonce can change an update without changing its sketch; one without the nonce
cannot make an update that has the sketch of another. The spectrum needs no nonce: singular values move by at most the
distance that the update moves (Mirsky), for every adversary.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from peft_assay.core.artifact import WEIGHTS_FILE
from peft_assay.fingerprint.interface import MAX_ITEMS, Operation, Part, Uncomputable
from peft_assay.fingerprint.normal import normal_form
from peft_assay.fingerprint.tensors import Cast

NONCE_BYTES = 32
COLUMNS = 8
"""Columns of U, and of V."""
MAX_SPECTRUM = 512
"""Most singular values of one part; a part that may have more has its norm alone."""
BLOCK_ITEMS = 1 << 22
"""Most numbers of a part in rows that are formed at once."""
MAX_DENSE = 1 << 35
"""Most numbers of all parts in rows together: small files could ask for hours."""


@dataclass(frozen=True, slots=True)
class PartPrint:
    """The print of one part: `spectrum` in falling order, or only the norm where `whole` is false; a sketch for each
    nonce.
    """

    shape: tuple[int, int]
    spectrum: Any
    whole: bool
    sketches: tuple[Any, ...]


Key = tuple[str, Operation]
Prints = Mapping[Key, PartPrint]


def prints_of(files: Mapping[str, bytes], nonces: Sequence[bytes] = (), cast: Cast | None = None) -> Prints:
    """Return prints of every part of the adapter in `files` that changes anything; raises Uncomputable.

    One pass for any number of nonces.
    """
    found: dict[Key, PartPrint] = {}
    formed = 0
    for part in normal_form(files, cast):
        formed += part.shape[0] * part.shape[1] if part.rows is not None else 0
        if formed > MAX_DENSE:
            raise Uncomputable("its updates are too large to be formed", where=part.module)
        printed = _print(part, nonces)
        if not all(np.isfinite(array).all() for array in (printed.spectrum, *printed.sketches)):
            raise Uncomputable("its products are not finite", where=part.module)
        if printed.spectrum.any():
            if (part.module, part.operation) in found:
                raise Uncomputable("two of its parts do the same to it", where=part.module)
            found[part.module, part.operation] = printed
    if not found:
        raise Uncomputable("does nothing: there is no part that is not zero", where=WEIGHTS_FILE)
    return found


def _print(part: Part, nonces: Sequence[bytes]) -> PartPrint:
    planes = [(_signs(nonce, "u", part.shape[0]), _signs(nonce, "v", part.shape[1])) for nonce in nonces]
    if part.rows is None:
        sketches = tuple((u.T @ part.left) @ (part.right @ v) / COLUMNS for u, v in planes)
        spectrum, whole = _spectrum_of_factors(part)
        return PartPrint(part.shape, spectrum, whole, sketches)
    sums = [np.zeros((COLUMNS, COLUMNS)) for _ in planes]
    side = min(part.shape)
    whole = part.shape[1] <= MAX_SPECTRUM or _at_once(part)
    gram, squares = np.zeros((side, side) if whole else (1, 1)), 0.0
    for begin, block in _blocks(part):
        for number, (u, v) in enumerate(planes):
            sums[number] += u[begin : begin + len(block)].T @ (block @ v) / COLUMNS
        if whole and side == part.shape[1]:
            gram += block.T @ block
        elif whole:  # fewer rows than columns: they all came at once
            gram = block @ block.T
        else:
            squares += float((block * block).sum())
    spectrum = _roots(gram) if whole else np.array([math.sqrt(squares)])
    return PartPrint(part.shape, spectrum, whole, tuple(sums))


def _blocks(part: Part) -> Iterator[tuple[int, Any]]:
    rows, columns = part.shape
    step = rows if _at_once(part) else max(1, BLOCK_ITEMS // max(columns, 1))
    if part.rows is not None:
        yield from ((begin, part.rows(begin, begin + step)) for begin in range(0, rows, step))


def _at_once(part: Part) -> bool:
    """Whether a part in rows has so few that all of them are formed together."""
    rows, columns = part.shape
    return rows <= min(columns, MAX_SPECTRUM) and rows * columns <= MAX_ITEMS


def _spectrum_of_factors(part: Part) -> tuple[Any, bool]:
    """Return singular values from two small Gram matrices, for an update of any size."""
    if part.left.shape[1] > MAX_SPECTRUM:
        # sum over i, j of (B^T B) o (A A^T), without forming anything larger than the factors
        product = part.left.T @ part.left
        return np.array([math.sqrt(max(float((product * (part.right @ part.right.T)).sum()), 0.0))]), False
    values, vectors = np.linalg.eigh(part.left.T @ part.left)
    root = (vectors * np.sqrt(np.clip(values, 0.0, None))).T @ part.right
    return _roots(root @ root.T)[: min(part.shape)], True


def _roots(gram: Any) -> Any:
    """Return square roots of eigenvalues, largest first; values within rounding of zero are left out."""
    squares = np.clip(np.linalg.eigvalsh(gram)[::-1], 0.0, None)
    return np.sqrt(np.where(squares > squares.max(initial=0.0) * 1e-15, squares, 0.0))


@lru_cache(32)
def _signs(nonce: bytes, side: str, size: int) -> Any:
    """Return `size` x COLUMNS signs, +1 or -1."""
    drawn = hashlib.shake_256(nonce + f"|{side}|{size}|{COLUMNS}".encode()).digest(size)
    bits = np.unpackbits(np.frombuffer(drawn, np.uint8)).reshape(size, COLUMNS)
    return 1.0 - 2.0 * bits
