"""What is seen of adapter_model.safetensors while it passes once: its header, and per tensor what values it holds.

Nothing of the tensors is kept but numbers, so memory does not grow with the file. Per tensor: the largest magnitude, as
the bits of its dtype without the sign (for every IEEE-like format these grow with the magnitude, and infinities and
NaNs are the largest of all, so that one number answers for every dtype it may later be cast to).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from peft_assay.core.artifact import WEIGHTS_FILE
from peft_assay.observe.interface import Unreadable
from peft_assay.observe.static.header import (
    ITEM_BYTES,
    LENGTH_BYTES,
    LFS_POINTER,
    MAX_HEADER_BYTES,
    Tensor,
    read_header,
)
from peft_assay.observe.static.product import Update
from peft_assay.observe.static.spectrum import FactorPass, Updates

FLOATS = frozenset({"F16", "BF16", "F32", "F64"})
MEASURED = (".lora_magnitude_vector", ".delora_lambda")
"""Tensors whose norm is kept: DoRA's magnitudes (the lengths of the adapted weight's rows), and DeLoRA's factor."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen of one safetensors file; `problem` says why nothing was."""

    tensors: tuple[Tensor, ...] = ()
    problem: str | None = None
    magnitudes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Tensor name to largest magnitude, as bits without sign; floating-point and integer dtypes, BOOL has none."""
    updates: Mapping[str, Update] = field(default_factory=lambda: MappingProxyType({}))
    """Module to its low-rank update, of the modules that have both factors."""
    updates_problem: str | None = None
    """Why some modules' updates were not computed."""
    lengths: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Tensor name to Frobenius norm, of tensors that are `MEASURED`."""


class WeightsWatcher:
    """Watches one file of `size` bytes. Never raises: a file that cannot be read is a sighting with a problem."""

    def __init__(self, size: int, *, factors: bool = True, header_only: bool = False) -> None:
        self._size = size
        self._factors = factors
        self._header_only = header_only
        self._start = bytearray()
        self._expected = LENGTH_BYTES
        self._scan: _Scan | None = None
        self._problem: str | None = None

    def feed(self, chunk: memoryview) -> None:
        """The next bytes: first the header is completed, then tensors are scanned as they come."""
        if self._problem is not None:
            return
        try:
            if self._scan is None:
                chunk = self._header(chunk)
            if self._scan is not None and chunk and not self._header_only:
                self._scan.feed(chunk)
        except Unreadable as problem:
            self._problem = str(problem)
        except Exception as error:  # noqa: BLE001 - hostile bytes may break a scan; they have then not been seen
            self._problem = f"could not be scanned: {type(error).__name__}"

    def finish(self) -> Sighting:
        """What was seen of the whole file."""
        if self._problem is None and self._scan is None:
            self._problem = _why_short(bytes(self._start))
        if self._problem is not None or self._scan is None:
            return Sighting(problem=self._problem)
        if self._header_only:
            return Sighting(self._scan.tensors, updates_problem="only its header was looked at")
        try:
            return self._scan.finish()
        except Exception as error:  # noqa: BLE001
            return Sighting(problem=f"could not be scanned: {type(error).__name__}")

    def _header(self, chunk: memoryview) -> memoryview:
        """Collects the header; gives what follows it in `chunk`. Raises Unreadable."""
        while self._scan is None and chunk:
            wanted = self._expected - len(self._start)
            self._start += chunk[:wanted]
            chunk = chunk[wanted:]
            if len(self._start) < self._expected:
                break
            if self._expected == LENGTH_BYTES:
                self._expected += self._header_size()
            if len(self._start) == self._expected:
                tensors = read_header(bytes(self._start), self._size)
                self._start.clear()
                self._scan = _Scan(tensors, self._expected, factors=self._factors)
        return chunk

    def _header_size(self) -> int:
        if LFS_POINTER.startswith(self._start):
            raise Unreadable("is a Git LFS pointer: the weights were not fetched (git lfs pull)")
        size = int.from_bytes(self._start, "little")
        if 0 < size <= MAX_HEADER_BYTES and LENGTH_BYTES + size > self._size:
            raise Unreadable(f"is cut off or no safetensors: it has {self._size} bytes, and its header alone {size}")
        if size > MAX_HEADER_BYTES or size == 0:
            raise Unreadable(f"a header of {size} bytes is empty or over the limit")
        return size


def _why_short(start: bytes) -> str:
    if not start:
        return "is empty (0 bytes)"
    return f"ends after {len(start)} bytes, before the end of its header"


class _Scan:
    """Goes through the tensors in file order, piece by piece."""

    def __init__(self, tensors: tuple[Tensor, ...], at: int, *, factors: bool) -> None:
        self.tensors = tensors
        self._at = at
        self._index = 0
        self._rest = b""
        """Bytes of an item that a chunk cut in two."""
        self._magnitudes: dict[str, int] = {}
        self._updates = Updates() if factors else None
        self._squares: dict[str, float] = {}
        self._pass = self._factor_pass()

    def feed(self, chunk: memoryview) -> None:
        while chunk and self._index < len(self.tensors):
            tensor = self.tensors[self._index]
            part = chunk[: tensor.end - self._at]
            self._scan(tensor, part)
            self._at += len(part)
            chunk = chunk[len(part) :]
            if self._at == tensor.end:
                self._next(tensor)

    def finish(self) -> Sighting:
        magnitudes = MappingProxyType(self._magnitudes)
        lengths = MappingProxyType({name: math.sqrt(square) for name, square in self._squares.items()})
        if self._updates is None:
            problem = "updates were not looked at"
            return Sighting(self.tensors, None, magnitudes, updates_problem=problem, lengths=lengths)
        self._updates.finish()
        updates = MappingProxyType(self._updates.found)
        return Sighting(self.tensors, None, magnitudes, updates, self._updates.problem, lengths)

    def _scan(self, tensor: Tensor, part: memoryview) -> None:
        if self._pass is not None:
            self._pass.feed(part)
        item = ITEM_BYTES[tensor.dtype]
        piece: memoryview | bytes = part
        if self._rest or len(part) % item:
            joined = self._rest + bytes(part)
            cut = len(joined) - len(joined) % item
            piece, self._rest = joined[:cut], joined[cut:]
        if len(piece):
            largest = largest_magnitude(tensor.dtype, piece)
            self._magnitudes[tensor.name] = max(largest, self._magnitudes.get(tensor.name, 0))
            if any(mark in tensor.name for mark in MEASURED) and tensor.dtype in FLOATS:
                square = sum_of_squares(tensor.dtype, piece)
                self._squares[tensor.name] = self._squares.get(tensor.name, 0.0) + square

    def _next(self, tensor: Tensor) -> None:
        if self._pass is not None and self._updates is not None:
            self._updates.add(tensor.name, self._pass.finish())
        self._index += 1
        self._pass = self._factor_pass()

    def _factor_pass(self) -> FactorPass | None:
        if self._updates is None or self._index >= len(self.tensors):
            return None
        tensor = self.tensors[self._index]
        return FactorPass(tensor) if self._updates.wants(tensor) else None


def largest_magnitude(dtype: str, piece: memoryview | bytes) -> int:
    """The largest bits without sign among whole items of `dtype`; for integers the largest absolute value."""
    import numpy as np  # starting without numpy keeps every other command fast

    item = ITEM_BYTES[dtype]
    if dtype in {"I8", "I16", "I32", "I64"}:
        signed: Any = np.frombuffer(piece, dtype=f"<i{item}")
        return max(int(signed.max()), -int(signed.min()))
    unsigned: Any = np.frombuffer(piece, dtype=f"<u{item}")
    if dtype in {"U8", "BOOL"}:
        return int(unsigned.max())
    # As unsigned numbers the largest is the negative of greatest magnitude, as signed ones the positive.
    sign = 1 << (8 * item - 1)
    highest = int(unsigned.max())
    negative = highest & (sign - 1) if highest & sign else 0
    return max(negative, int(unsigned.view(f"<i{item}").max()), 0)


def sum_of_squares(dtype: str, piece: memoryview | bytes) -> float:
    """Return the sum of squares of whole items of a floating-point `dtype`."""
    import numpy as np

    values: Any = np.frombuffer(piece, dtype="<u2" if dtype == "BF16" else f"<f{ITEM_BYTES[dtype]}")
    if dtype == "BF16":
        values = (values.astype("<u4") << np.uint32(16)).view("<f4")
    with np.errstate(all="ignore"):  # a number that overflows becomes infinite, and is reported as such
        return float((values.astype(np.float64) ** 2).sum())


def watch_weights(path: str, size: int) -> WeightsWatcher | None:
    """Return a watcher for an adapter's weights, wherever in an archive they lie, or for the header of another
    safetensors file; None for every other file.
    """
    if path.rsplit("/", 1)[-1] == WEIGHTS_FILE:
        return WeightsWatcher(size)
    return WeightsWatcher(size, header_only=True) if path.lower().endswith(".safetensors") else None


def sighting_of(content: bytes, *, factors: bool = True) -> Sighting:
    """What is seen of a file that is at hand as a whole."""
    watcher = WeightsWatcher(len(content), factors=factors)
    watcher.feed(memoryview(content))
    return watcher.finish()
