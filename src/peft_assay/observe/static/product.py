r"""The update :math:`B A` of one pair of factors: by their Gram matrices, or exactly where these do not suffice.

Gram matrices hold squares. Where the parts of an update cancel each other, only rounding errors of the squares are
left: an update that is exactly zero would have a norm, and one of ordinary norm could hide in it. Then both factors are
reduced to triangles (QR, in float64), whose product has the same singular values to the last digits of a double.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from peft_assay.observe.static.header import ITEM_BYTES

CASTS = ("float16", "bfloat16")
BLOCK_ITEMS = 4 << 20
"""Numbers of a factor that are read at once; most factors have fewer."""
MAX_EXACT = 20_000_000_000
"""Most multiplications of all triangles of one file: some ten CPU-seconds. Ordinary adapters need none."""
_CANCELS = 1e-4
"""Share of (sum of the parts' norms) squared below which the parts cancel. At random directions it is 1 / rank."""
_ZERO = 1e-13
"""The share of the sum of the parts' norms that is rounding of doubles."""
_FAINT = 1e-30
"""Squared norms below this are computed in float64: float32 ends at 1e-38."""


class Cancelled(Exception):
    """The parts of an update cancel each other, and the rest cannot be computed."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A factor's numbers as the file has them."""

    content: bytearray
    dtype: str
    shape: tuple[int, ...]
    down: bool
    """Whether it is A, of shape (r, inputs), and not B, of shape (outputs, r)."""


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor of an update."""

    rank: int
    gram: Any
    """float64 array (r, r): A A^T or B^T B; None with `problem`."""
    cast_errors: Mapping[str, float]
    """Per dtype: Frobenius norm of the change by casting."""
    problem: str | None = None
    stored: Stored | None = None
    """The factor's numbers; None where they were not kept."""

    @property
    def bytes(self) -> int:
        """Return the number of bytes that are kept of its numbers."""
        return 0 if self.stored is None else len(self.stored.content)


@dataclass(frozen=True, slots=True)
class Update:
    """The update of one module."""

    rank: int
    """The rank of the factors; alpha is divided by it."""
    norm: float
    """Frobenius norm, before the module's scale."""
    spectral_share: float
    """The share of the squared norm in the first singular direction; 0 for an update that is zero."""
    effective_rank: float
    """Between 1 and the rank; 0 for an update that is zero."""
    cast_change: Mapping[str, float]
    """Per dtype: at most this part of the norm changes when both factors are cast; infinite for an update that is zero
    only because its parts cancel, and whose parts change."""


def blocks(stored: Stored) -> Iterator[Any]:
    """Yield the factor as (n, r), cut across n, in float32 (float64 where it is stored so): copies stay small."""
    import numpy as np

    kind = "<u2" if stored.dtype == "BF16" else f"<f{ITEM_BYTES[stored.dtype]}"
    whole = np.frombuffer(stored.content, dtype=kind).reshape(stored.shape)
    whole = whole.T if stored.down else whole
    step = max(1, BLOCK_ITEMS // max(1, whole.shape[1]))
    for at in range(0, whole.shape[0], step):
        block = whole[at : at + step]
        if stored.dtype == "BF16":
            yield (block.astype("<u4") << np.uint32(16)).view("<f4")
        else:
            yield block if stored.dtype == "F64" else block.astype("<f4", copy=False)


def needs_double(gram: Any, values: Any) -> bool:
    """Whether a Gram matrix in float32 lost a part of `values` by overflow, or by squares too small for it."""
    import numpy as np

    if values.dtype == np.float64:
        return False
    if not np.isfinite(gram).all():
        return True
    faint = np.flatnonzero(np.diagonal(gram) < _FAINT)
    return bool(len(faint)) and bool(values[:, faint].any())


def update_of(down: Factor, up: Factor, budget: float = MAX_EXACT) -> tuple[Update, float]:
    """Return the update ``B A``, and the part of `budget` that it took; both factors have a gram matrix and the same
    rank.

    Raises Cancelled.
    """
    import numpy as np

    lengths_down, lengths_up = (np.sqrt(np.diagonal(factor.gram)) for factor in (down, up))
    parts = lengths_down * lengths_up
    live = np.flatnonzero(parts)
    scale = float(parts.sum())
    if not len(live):
        return Update(down.rank, 0.0, 0.0, 0.0, MappingProxyType(dict.fromkeys(CASTS, 0.0))), 0.0
    # Each part b_k a_k stays the same when a_k is divided and b_k multiplied by a number: here both get equal lengths.
    weight = np.sqrt(lengths_up[live] / lengths_down[live])
    squares = _squared_singular_values(
        down.gram[np.ix_(live, live)] * np.outer(weight, weight), up.gram[np.ix_(live, live)] / np.outer(weight, weight)
    )
    spent = 0.0
    if not float(squares.sum()) > _CANCELS * scale * scale:
        squares, spent = _exactly(down, up, live, weight, scale, budget)
    return _update(down, up, squares), spent


def _update(down: Factor, up: Factor, squares: Any) -> Update:
    import numpy as np

    total = float(squares.sum())
    norm = math.sqrt(total)
    spectral_down, spectral_up = (math.sqrt(max(float(np.linalg.eigvalsh(g)[-1]), 0.0)) for g in (down.gram, up.gram))
    change = {}
    for dtype in CASTS:
        error = up.cast_errors[dtype] * (spectral_down + down.cast_errors[dtype])
        error += spectral_up * down.cast_errors[dtype]
        change[dtype] = error / norm if norm else math.inf if error else 0.0
    if total == 0:
        return Update(down.rank, 0.0, 0.0, 0.0, MappingProxyType(change))
    shares = squares[squares > 0] / total
    entropy = -float((shares * np.log(shares)).sum())
    return Update(down.rank, norm, float(shares.max()), math.exp(entropy), MappingProxyType(change))


def _squared_singular_values(gram_down: Any, gram_up: Any) -> Any:
    import numpy as np

    values, vectors = np.linalg.eigh(gram_down)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    squares = np.linalg.eigvalsh(root.T @ gram_up @ root)
    squares = np.clip(squares, 0.0, None)
    # Rounding leaves a small positive number where the true value is zero.
    return np.where(squares > squares.max(initial=0.0) * 1e-12, squares, 0.0)


def _exactly(down: Factor, up: Factor, live: Any, weight: Any, scale: float, budget: float) -> tuple[Any, float]:
    """Return squared singular values by triangles, and the number of multiplications. Raises Cancelled."""
    import numpy as np

    if down.stored is None or up.stored is None:
        raise Cancelled("its factors cancel each other, and are too large or too far apart to be multiplied again")
    items = sum(math.prod(stored.shape) for stored in (down.stored, up.stored))
    spent = 2.0 * items * len(live)
    if spent > budget:
        raise Cancelled("its factors cancel each other, like others here: there is too much to multiply again")
    first, second = _triangle(up.stored, live, 1 / weight), _triangle(down.stored, live, weight)
    found = np.linalg.svd(first @ second.T, compute_uv=False)
    return np.where(found > _ZERO * scale, found, 0.0) ** 2, spent


def _triangle(stored: Stored, live: Any, weight: Any) -> Any:
    import numpy as np

    triangle: Any = np.zeros((0, len(live)))
    for values in blocks(stored):
        triangle = np.linalg.qr(np.vstack([triangle, values[:, live].astype(np.float64) * weight]), mode="r")
    return triangle
