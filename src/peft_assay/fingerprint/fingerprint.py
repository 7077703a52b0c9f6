"""A fingerprint: the part of an adapter's function that a withdrawal keeps, and its bytes in a signed list.

It has prints of the adapter as stored and after plain conversions of dtype, all under one nonce. The authority draws
the nonce when it signs, so it was unknown when the adapter, or one made to be mistaken for it, was made.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from peft_assay.core.artifact import WEIGHTS_FILE
from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json, validate
from peft_assay.fingerprint.casts import CASTS
from peft_assay.fingerprint.configuration import read_configuration
from peft_assay.fingerprint.interface import Operation, Uncomputable
from peft_assay.fingerprint.sketch import COLUMNS, MAX_SPECTRUM, NONCE_BYTES, Key, PartPrint, Prints, prints_of

MAX_BYTES = 8 << 20
"""The format version of a fingerprint in a list."""
MAX_PARTS = 20_000
SAME = 1e-6
"""A conversion that moves no print by more than this has no prints of its own."""
_SHARED_START = frozenset({"VERA", "PVERA", "RANDLORA", "VBLORA"})
"""Types whose siblings share random tensors, so that updates of unrelated adapters point in similar directions."""
_RANDOM_START = (None, True, False, "gaussian", "orthogonal")
"""Values of init_lora_weights with which updates of unrelated adapters of a base have different directions."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The signed part of a withdrawn adapter's function."""

    nonce: bytes
    apart: bool
    """Updates of unrelated adapters of this type have different directions: a similar direction or spectrum is
    evidence."""
    variants: tuple[Prints, ...]
    """The prints as stored come first; each has one sketch for each part."""


def take(files: Mapping[str, bytes], nonce: bytes) -> Fingerprint:
    """Return the fingerprint of the adapter in `files` under `nonce`; raises Uncomputable."""
    found: list[Prints] = []
    for cast in CASTS:
        try:
            prints = prints_of(files, (nonce,), cast)
        except Uncomputable:
            if not found:
                raise
            continue  # the adapter overflows in this conversion: no working twin of this kind exists
        if not any(_alike(prints, other) for other in found):
            found.append(prints)
    return Fingerprint(nonce, points_apart(files), tuple(found))


def points_apart(files: Mapping[str, bytes]) -> bool:
    """Whether unrelated adapters that are written like this one point apart: random starts that are not shared."""
    config = read_configuration(files)
    start = config.values.get("init_lora_weights")
    return config.kind not in _SHARED_START and any(start is value or start == value for value in _RANDOM_START)


def _alike(one: Prints, other: Prints) -> bool:
    if one.keys() != other.keys():
        return False
    for key, print_of in one.items():
        same = other[key]
        if print_of.spectrum.shape != same.spectrum.shape:
            return False
        norm = float(np.linalg.norm(print_of.spectrum))
        moved = (print_of.spectrum - same.spectrum, print_of.sketches[0] - same.sketches[0])
        if any(float(np.linalg.norm(by)) > SAME * norm for by in moved):
            return False
    return True


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    module: str
    operation: Literal["add", "multiply", "rotate", "prompt", "magnitude", "tensor"]
    shape: list[int]
    values: int
    """Singular values; 0: the norm alone."""


class _Fingerprint(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    nonce: str
    apart: bool
    parts: list[_Part]
    variants: list[str]
    """base64 of little-endian float32: per part its singular values (or norm), then its sketch row by row."""


def to_bytes(found: Fingerprint) -> bytes:
    """Return `found` as it stands in a list; raises Uncomputable where that would be too large."""
    keys = sorted(found.variants[0])
    parts = [
        {
            "module": module,
            "operation": operation.value,
            "shape": list(found.variants[0][module, operation].shape),
            "values": _kept(found.variants[0][module, operation]),
        }
        for module, operation in keys
    ]
    variants = [base64.b64encode(_numbers(prints, keys, found.variants[0])).decode() for prints in found.variants]
    document = {"nonce": found.nonce.hex(), "apart": found.apart, "parts": parts, "variants": variants}
    content = canonical_bytes(document)
    if len(content) > MAX_BYTES or len(parts) > MAX_PARTS:
        raise Uncomputable(f"its fingerprint has {len(content)} bytes, too many for a list", where=WEIGHTS_FILE)
    return content


def _kept(printed: PartPrint) -> int:
    return len(printed.spectrum) if printed.whole else 0


def _numbers(prints: Prints, keys: list[Key], first: Prints) -> bytes:
    """Return the numbers of one variant, in the order of `keys`; a part that a conversion made zero is written as
    zeros.
    """
    arrays = []
    for key in keys:
        length = len(first[key].spectrum)
        spectrum, sketch = np.zeros(length), np.zeros((COLUMNS, COLUMNS))
        if key in prints:
            had = prints[key].spectrum[:length]
            spectrum[: len(had)], sketch = had, prints[key].sketches[0]
        arrays += [spectrum, sketch.ravel()]
    with np.errstate(over="ignore"):
        flat = np.concatenate(arrays).astype("<f4")
    if not np.isfinite(flat).all():
        raise Uncomputable("its numbers are too large for a fingerprint", where=WEIGHTS_FILE)
    content: bytes = flat.tobytes()
    return content


def from_bytes(content: bytes) -> Fingerprint:
    """Return the fingerprint in `content`; raises DocumentError for anything else."""
    where = "fingerprint"
    wire = validate(_Fingerprint, parse_json(content, where=where, max_bytes=MAX_BYTES), where=where)
    try:
        nonce = bytes.fromhex(wire.nonce)
        decoded = [base64.b64decode(text, validate=True) for text in wire.variants]
        stored = [np.frombuffer(content, "<f4").astype(np.float64) for content in decoded]
    except (binascii.Error, ValueError):
        raise DocumentError("nonce or numbers are not written as they should be", where=where) from None
    for part in wire.parts:
        if len(part.shape) != 2 or min(part.shape) < 1 or not 0 <= part.values <= MAX_SPECTRUM:
            raise DocumentError("a part has no shape, or too many values", where=where)
    length = sum(max(part.values, 1) + COLUMNS**2 for part in wire.parts)
    if len(nonce) != NONCE_BYTES or not wire.parts or not stored or any(len(flat) != length for flat in stored):
        raise DocumentError("nonce, parts and numbers do not fit together", where=where)
    if not all(np.isfinite(flat).all() for flat in stored):
        raise DocumentError("a number is not finite", where=where)
    return Fingerprint(nonce, wire.apart, tuple(_variant(wire.parts, flat) for flat in stored))


def _variant(parts: list[_Part], flat: Any) -> Prints:
    found, at = {}, 0
    for part in parts:
        middle = at + max(part.values, 1)
        end = middle + COLUMNS**2
        key = part.module, Operation(part.operation)
        shape = (part.shape[0], part.shape[1])
        sketch = flat[middle:end].reshape(COLUMNS, COLUMNS)
        found[key] = PartPrint(shape, flat[at:middle], part.values > 0, (sketch,))
        at = end
    return found
