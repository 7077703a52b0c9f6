"""The tensors of a safetensors file as float64 numbers, from any stored dtype.

Names are judged in `observe.static.header`; here each tensor only must have exactly one reading.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from peft_assay.core.artifact import WEIGHTS_FILE
from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json
from peft_assay.fingerprint.interface import Uncomputable

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 16 << 20
_NUMPY = {
    "BOOL": "u1", "U8": "u1", "I8": "i1", "F8_E4M3": "u1", "F8_E5M2": "u1", "I16": "<i2", "F16": "<f2", "BF16": "<u2",
    "I32": "<i4", "F32": "<f4", "I64": "<i8", "F64": "<f8",
}  # fmt: skip
_FLOATS = ("F8_E4M3", "F8_E5M2", "F16", "BF16", "F32", "F64")
PIECE = 1 << 20
"""Numbers of a large tensor that are widened at once."""

Cast = Callable[[Any], Any]
"""A function from float64 numbers to their values in a narrower dtype."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor as stored; nothing is copied before `values` or `rows` is called."""

    name: str
    dtype: str
    raw: Any
    cast: Cast | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.raw.shape)

    def values(self) -> Any:
        """Return the numbers in float64; raises Uncomputable for NaN and infinities."""
        return self._wide(self.raw)

    def matrix(self) -> tuple[int, int]:
        """Return the shape as a matrix: as many rows as the first dimension, one for a vector."""
        rows = self.shape[0] if len(self.shape) > 1 else 1
        return rows, self.raw.size // max(rows, 1)

    def rows(self, begin: int, end: int) -> Any:
        """Return rows of that matrix in float64."""
        return self._wide(self.raw.reshape(self.matrix())[begin:end])

    def pieces(self) -> Iterator[Any]:
        """Yield all numbers in float64, piece by piece."""
        flat = self.raw.reshape(-1)
        for at in range(0, flat.size, PIECE):
            yield self._wide(flat[at : at + PIECE])

    def _wide(self, raw: Any) -> Any:
        wide = _wide(self.dtype, raw)
        if self.cast is not None and self.dtype in _FLOATS:
            wide = self.cast(wide)
        if not np.isfinite(wide).all():
            raise Uncomputable("holds a NaN or an infinity", where=self.name)
        return wide


def read_tensors(content: bytes, cast: Cast | None = None) -> tuple[Tensor, ...]:
    """Return the tensors in `content` that hold a number, by name; raises Uncomputable unless each has one reading."""
    size = int.from_bytes(content[:LENGTH_BYTES], "little")
    start = LENGTH_BYTES + size
    if not 0 < size <= MAX_HEADER_BYTES or start > len(content):
        raise Uncomputable("its header is empty, too long or longer than the file", where=WEIGHTS_FILE)
    try:
        document = parse_json(content[LENGTH_BYTES:start], where=WEIGHTS_FILE, max_bytes=MAX_HEADER_BYTES)
    except DocumentError as error:
        raise Uncomputable(error.message, where=WEIGHTS_FILE) from None
    if not isinstance(document, dict):
        raise Uncomputable("its header is not a JSON object", where=WEIGHTS_FILE)
    document.pop("__metadata__", None)
    found = (_tensor(name, entry, memoryview(content)[start:], cast) for name, entry in sorted(document.items()))
    return tuple(tensor for tensor in found if tensor.raw.size)


def _tensor(name: str, entry: Any, stored: memoryview, cast: Cast | None) -> Tensor:
    match entry:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if dtype in _NUMPY:
            kind = np.dtype(_NUMPY[dtype])
        case _:
            raise Uncomputable("its dtype, shape or offsets are not ones that can be read", where=name[:200])
    if not all(type(length) is int and length >= 0 for length in shape) or not 0 <= begin <= end <= len(stored):
        raise Uncomputable("its shape or offsets are not whole numbers within the file", where=name[:200])
    if end - begin != kind.itemsize * math.prod(shape):
        raise Uncomputable("its shape and its offsets disagree on its size", where=name[:200])
    raw = np.frombuffer(stored[begin:end], dtype=kind) if begin < end else np.empty(0, dtype=kind)
    return Tensor(name, dtype, raw.reshape(shape), cast)


def _wide(dtype: str, raw: Any) -> Any:
    if dtype == "BF16":
        bits = raw.astype(np.uint32)
        bits <<= np.uint32(16)
        return bits.view(np.float32).astype(np.float64)
    if dtype.startswith("F8"):
        return _eighths(dtype)[raw]
    return raw.astype(np.float64)


@cache
def _eighths(dtype: str) -> Any:
    """Return the 256 numbers of an 8-bit format (OCP 8-bit floating point, revision 1.0)."""
    mantissa, bias = (3, 7) if dtype == "F8_E4M3" else (2, 15)
    bits = np.arange(256)
    exponent, fraction = (
        (bits >> mantissa) & ((1 << (7 - mantissa)) - 1),
        (bits & ((1 << mantissa) - 1)) / (1 << mantissa),
    )
    found = np.where(exponent == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * 2.0 ** (exponent - bias))
    if dtype == "F8_E4M3":
        found[(bits & 0x7F) == 0x7F] = np.nan
    else:
        found[exponent == 31] = np.where(fraction[exponent == 31] == 0, np.inf, np.nan)
    return np.where(bits & 0x80, -found, found)


def narrowest(values: Any) -> tuple[str, bytes]:
    """Return the name and bytes of the smallest of bfloat16, float32 and float64 that holds all of `values` exactly.

    The result depends on the numbers alone, so that a digest over it does not depend on the stored dtype.
    """
    values = np.ascontiguousarray(values, dtype="<f8") + 0.0  # no negative zero
    with np.errstate(all="ignore"):
        single = values.astype("<f4")
    if not np.array_equal(single.astype("<f8"), values):
        return "F64", values.tobytes()
    bits = single.view("<u4")
    if (bits & np.uint32(0xFFFF)).any():
        return "F32", single.tobytes()
    return "BF16", (bits >> np.uint32(16)).astype("<u2").tobytes()
