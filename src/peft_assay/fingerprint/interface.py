"""The parts of an adapter's function, each one operation on one module of the base."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from peft_assay.core.errors import AssayError, Door


class Uncomputable(AssayError):
    """The function of these files cannot be computed: they are unreadable, or have more than one reading."""

    door = Door.REFUSED


class Operation(StrEnum):
    """The operation of a part. Parts are compared with parts of the same operation only, never pooled across them."""

    ADD = "add"
    """Added to a weight or to a bias."""
    MULTIPLY = "multiply"
    """Multiplied with activations; kept as the factor less one."""
    ROTATE = "rotate"
    """A rotation of the weight; kept as its difference from the identity."""
    PROMPT = "prompt"
    """Vectors put before the prompt."""
    MAGNITUDE = "magnitude"
    """Column norms that replace the base's own: alike in all adapters of a base."""
    TENSOR = "tensor"
    """Anything else, as it is stored."""


class Word(StrEnum):
    """The relation of an adapter to a withdrawn one."""

    EQUAL = "equal"
    """It has the same function."""
    NEAR = "near"
    """It has almost the same function, or a large part of it."""
    CRAFTED = "crafted"
    """Its singular values are those of the withdrawn one and its direction is another: made so that one is taken for
    the other."""
    OTHER = "other"


SIMILAR = frozenset({Operation.MAGNITUDE, Operation.TENSOR})
"""Operations whose numbers are mostly the base's own, so that unrelated adapters of one base look alike in them."""
VANISHING = frozenset({Operation.ADD, Operation.MULTIPLY, Operation.ROTATE})
"""Operations without effect where all their numbers are zero."""
MAX_ITEMS = 1 << 26
"""The most numbers in memory at once, of a small file that can describe large arrays."""


@dataclass(frozen=True, slots=True)
class Part:
    """One operation on one module: a matrix as `left` @ `right`, or as the rows that `rows(begin, end)` returns."""

    module: str
    """Path in the base, without prefixes and without the adapter's name."""
    operation: Operation
    shape: tuple[int, int]
    left: Any = None
    """float64 (outputs, rank); None for a part in rows."""
    right: Any = None
    """float64 (rank, inputs); None for a part in rows."""
    rows: Callable[[int, int], Any] | None = None
    """float64 rows from `begin` to `end`; None for a part in factors."""
    stored: tuple[Any, ...] | None = None
    """Tensors or float64 arrays that determine the part, scale folded in: the digest is over these. None: over the
    factors."""


def factors(module: str, operation: Operation, left: Any, right: Any, stored: tuple[Any, ...] | None = None) -> Part:
    """Return the part `left` @ `right`; raises Uncomputable where their ranks differ."""
    if left.shape[1] != right.shape[0]:
        raise Uncomputable(f"its factors have ranks {right.shape[0]} and {left.shape[1]}", where=module)
    return Part(module, operation, (left.shape[0], right.shape[1]), left, right, stored=stored)


def deferred(
    module: str, operation: Operation, shape: tuple[int, int], make: Callable[[], Any], stored: tuple[Any, ...]
) -> Part:
    """Return a part of `shape` whose numbers `make` computes when they are needed; `stored` determines them."""

    def rows(begin: int, end: int) -> Any:
        if shape[0] * shape[1] > MAX_ITEMS:
            raise Uncomputable(f"its update has {shape[0]} x {shape[1]} numbers, too many to form", where=module)
        return make().reshape(shape)[begin:end]

    return Part(module, operation, shape, rows=rows, stored=stored)


def plain(module: str, operation: Operation, values: Any, stored: tuple[Any, ...] | None = None) -> Part:
    """Return the part `values`, a tensor of any shape, as a matrix of as many rows as its first dimension."""
    matrix = values.reshape(values.shape[0], -1) if values.ndim > 1 else values.reshape(1, -1)

    def rows(begin: int, end: int) -> Any:
        return matrix[begin:end]

    return Part(module, operation, matrix.shape, rows=rows, stored=stored or (values,))


def bounded(module: str, *lengths: int) -> None:
    """Raise Uncomputable where an array of these lengths would have more than `MAX_ITEMS` numbers."""
    if math.prod(lengths) > MAX_ITEMS:
        raise Uncomputable("its tensors make more numbers than are formed", where=module)
