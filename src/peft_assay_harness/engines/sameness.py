"""Whether a shortcut may be trusted: a tensor is still what it was, and two ways of computing gave the same."""

from dataclasses import dataclass
from typing import Any, Self

import torch

CLOSE, CLOSE_IN_HALF = 1e-4, 5e-2
"""Of the largest value by which both ways of computing may differ: products of other sizes round differently."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A tensor as it was: the very object, with its memory, not written to in any way that torch counts."""

    tensor: Any
    memory: int
    version: int

    @classmethod
    def of(cls, tensor: Any) -> Self:
        """As it is now."""
        return cls(tensor, tensor.data_ptr(), tensor._version)  # noqa: SLF001 - what autograd itself goes by

    def is_still(self, tensor: Any) -> bool:
        """Whether `tensor` is that one, unchanged."""
        same = self.tensor is tensor and self.memory == tensor.data_ptr()
        return same and self.version == tensor._version  # noqa: SLF001 - see `of`


class Kept:
    """What was made of tensors in advance, for as long as each is what it was then."""

    def __init__(self) -> None:
        self._made: dict[int, tuple[Seen, Any]] = {}

    def __len__(self) -> int:
        return len(self._made)

    def keep(self, tensor: Any, made: Any) -> None:
        """Keeps what was `made` of `tensor`, and `tensor` with it."""
        self._made[id(tensor)] = Seen.of(tensor), made

    def of(self, tensor: Any) -> Any:
        """What was made of it; None where that is nothing, or is not of what the tensor is now."""
        seen, made = self._made.get(id(tensor), (None, None))
        return made if seen is not None and seen.is_still(tensor) else None


def same(one: Any, other: Any) -> bool:
    """Whether two ways of computing gave the same but for rounding; False where either is no number, or empty."""
    if one.shape != other.shape or not one.numel():
        return False
    tolerance = CLOSE_IN_HALF if other.dtype.itemsize < torch.float32.itemsize else CLOSE
    return bool((one - other).abs().max() <= tolerance * other.abs().max())
