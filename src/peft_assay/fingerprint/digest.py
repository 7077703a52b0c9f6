"""The digest of a function: equal for all files that hold the same numbers, in any order, dtype or spelling.

Covered are names without prefixes, operations, shapes and numbers with the scale folded in. Not covered: README,
metadata, the order of tensors, the dtype that exactly equal numbers are stored in, and fields of the configuration that
change no function. Of updates in factors it is also the same after ranks are permuted, padded with zeros, or scaled by
powers of two (as when alpha is doubled and B halved). Rotations and rounding change it; the fingerprint recognises
those.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from peft_assay.core.artifact import WEIGHTS_FILE
from peft_assay.core.digest import Digest
from peft_assay.fingerprint.interface import VANISHING, Part, Uncomputable
from peft_assay.fingerprint.normal import normal_form
from peft_assay.fingerprint.tensors import PIECE, Tensor, narrowest

_FORM = b"peft-assay function 1\n"


def function_digest(files: Mapping[str, bytes]) -> Digest:
    """Return the digest of the function of the adapter in `files` (path -> bytes, the whole artifact or only
    configuration and weights).

    Raises Uncomputable where configuration or weights have more than one reading.
    """
    lines = sorted(line for part in normal_form(files) if (line := _line(part)) is not None)
    return Digest("sha256:" + hashlib.sha256(_FORM + b"".join(lines)).hexdigest())


def _line(part: Part) -> bytes | None:
    """Return one part as a line, by its digest; None where the part changes nothing."""
    if part.stored is None:
        found = _components(part.left, part.right)
        content = hashlib.sha256(b"".join(found)).digest() if found else None
    else:
        vanished = part.operation in VANISHING and any(map(_is_zero, part.stored))
        content = None if vanished else hashlib.sha256(b"".join(map(_array, part.stored))).digest()
    if content is None:
        return None
    what = f"{part.module}\0{part.operation.value}\0{part.shape[0]}x{part.shape[1]}\0"
    return what.encode() + content.hex().encode() + b"\n"


def _components(left: Any, right: Any) -> list[bytes]:
    """Return one digest for each rank that is not zero, sorted; each rank is scaled to a common size first."""
    largest = np.abs(right).max(axis=1, initial=0.0)
    acts = (largest > 0) & left.any(axis=0)
    if not acts.any():
        return []
    right, columns = right[acts], np.ascontiguousarray(left.T[acts])
    powers = np.ldexp(1.0, -np.frexp(largest[acts])[1])[:, None]
    signs = np.sign(right[np.arange(len(right)), (right != 0).argmax(axis=1)])[:, None]
    rows, columns = _arrays(right * powers * signs), _arrays(columns / powers * signs)
    return sorted(hashlib.sha256(row + column).digest() for row, column in zip(rows, columns, strict=True))


def _arrays(matrix: Any) -> list[bytes]:
    """Return what `_array` gives for each row of `matrix`, with the whole matrix converted at once."""
    length = matrix.shape[1]
    if not 0 < length <= PIECE:
        return [_array(row) for row in matrix]
    if not np.isfinite(matrix).all():
        raise Uncomputable("its numbers overflow when its scale is applied", where=WEIGHTS_FILE)
    matrix = np.ascontiguousarray(matrix, dtype="<f8") + 0.0  # no negative zero
    with np.errstate(all="ignore"):
        single = matrix.astype("<f4")
    exact = (single == matrix).all(axis=1)
    bits = single.view("<u4")
    short = exact & ~(bits & np.uint32(0xFFFF)).any(axis=1)
    halves = (bits >> np.uint32(16)).astype("<u2") if short.any() else bits
    found, start = [], hashlib.sha256(str(length).encode())
    for row in range(len(matrix)):
        name, held = ("BF16", halves) if short[row] else ("F32", single) if exact[row] else ("F64", matrix)
        digest = start.copy()
        digest.update(f"\0{name}\0".encode())
        digest.update(held[row].data)
        found.append(digest.digest())
    return found


def _array(values: Any) -> bytes:
    """Yield shape and numbers of an array or a tensor, in pieces of fixed length, each in its narrowest dtype."""
    found = hashlib.sha256("x".join(map(str, values.shape)).encode())
    for piece in values.pieces() if isinstance(values, Tensor) else _pieces(values):
        if not np.isfinite(piece).all():
            raise Uncomputable("its numbers overflow when its scale is applied", where=WEIGHTS_FILE)
        dtype, content = narrowest(piece)
        found.update(f"\0{dtype}\0".encode())
        found.update(content)
    return found.digest()


def _pieces(values: Any) -> Iterator[Any]:
    flat = values.reshape(-1)
    yield from (flat[at : at + PIECE] for at in range(0, flat.size, PIECE))


def _is_zero(values: Any) -> bool:
    return not (values.raw if isinstance(values, Tensor) else values).any()
