"""Frobenius norms of the base's weights, each read from its safetensors file when it is asked for, and once."""

import math
import struct
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

from peft_assay.observe.interface import Matrix, Unreadable
from peft_assay.observe.static.header import LENGTH_BYTES, MAX_HEADER_BYTES, Tensor, read_header

PIECE = 4 << 20
"""Bytes of a tensor that are in memory at once."""
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Of quantised tensors nothing is known without the engine that reads them."""


class Norms(Mapping[str, float]):
    """Norm by name. A file that cannot be read has no tensors. The base is the consumer's own; its bytes are locked.

    transformers' checkpoints of some architectures leave the model's own prefix out (``h.0`` for ``transformer.h.0``):
    a name is looked up as it stands, then without its first component.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, float] = {}

    def __getitem__(self, name: str) -> float:
        found = self.place(name)
        if found is None:
            raise KeyError(name)
        path, tensor = found
        if tensor.name not in self._known:
            try:
                self._known[tensor.name] = _norm(path, tensor)
            except OSError:
                raise KeyError(name) from None
        return self._known[tensor.name]

    def place(self, name: str) -> tuple[Path, Tensor] | None:
        """Return the file of a tensor and its place there."""
        return self._tensors.get(name) or self._tensors.get(name.partition(".")[2])

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    @cached_property
    def _tensors(self) -> Mapping[str, tuple[Path, Tensor]]:
        found: dict[str, tuple[Path, Tensor]] = {}
        for path in sorted(self._folder.glob("*.safetensors")):
            found |= {tensor.name: (path, tensor) for tensor in _header(path) if tensor.dtype in _TYPES}
        return found


class Matrices(Mapping[str, Matrix]):
    """Tensors of the base by name, found as `Norms` finds them."""

    def __init__(self, norms: Norms) -> None:
        self._norms = norms

    def __getitem__(self, name: str) -> Matrix:
        found = self._norms.place(name)
        if found is None:
            raise KeyError(name)
        path, tensor = found
        row = (tensor.end - tensor.begin) // max(1, tensor.shape[0] if tensor.shape else 1)

        def read(first: int, last: int) -> bytes:
            with path.open("rb") as opened:
                opened.seek(tensor.begin + first * row)
                return opened.read((last - first) * row)

        return Matrix(tensor.dtype, tensor.shape, read)

    def __iter__(self) -> Iterator[str]:
        return iter(self._norms)

    def __len__(self) -> int:
        return len(self._norms)


def _header(path: Path) -> tuple[Tensor, ...]:
    try:
        with path.open("rb") as opened:
            start = opened.read(LENGTH_BYTES)
            (length,) = struct.unpack("<Q", start) if len(start) == LENGTH_BYTES else (MAX_HEADER_BYTES + 1,)
            if length > MAX_HEADER_BYTES:
                return ()
            return read_header(start + opened.read(length), path.stat().st_size)
    except (OSError, Unreadable):
        return ()


def _norm(path: Path, tensor: Tensor) -> float:
    import numpy as np

    total = 0.0
    with path.open("rb") as opened:
        opened.seek(tensor.begin)
        left = tensor.end - tensor.begin
        while left > 0:
            piece = opened.read(min(PIECE, left))
            if not piece:
                raise OSError("the file ends before its tensor")
            left -= len(piece)
            values = np.frombuffer(piece, _TYPES[tensor.dtype])
            if tensor.dtype == "BF16":
                values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
            wide = values.astype(np.float64)
            total += float(np.dot(wide, wide))
    return math.sqrt(total)
