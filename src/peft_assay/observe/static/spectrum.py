r"""The effective update of a low-rank adapter, :math:`\Delta W = s B A`, without ever forming it.

With the Gram matrices :math:`G_A = A A^T` and :math:`G_B = B^T B` (both r x r), the singular values of :math:`B A` are
the square roots of the eigenvalues of :math:`G_A^{1/2} G_B G_A^{1/2}`: two small matrices per module say norm,
spectral share and effective rank of an update of any size. Effective rank is the exponential of the entropy of the
normalised squared singular values (Roy and Vetterli 2007, of their squares).
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from peft_assay.observe.static.header import ITEM_BYTES, Tensor

MAX_FACTOR_BYTES = 64 << 20
"""Stored bytes; a larger factor is not multiplied."""
MAX_RANK = 512
MAX_WAITING_BYTES = 64 << 20
"""Of factors whose partner has not come yet; PEFT writes the two next to each other."""
MAX_MULTIPLICATIONS = 20_000_000_000
"""Sum over modules of rank cubed: some ten CPU-seconds of eigenvalues. Small files could ask for hours."""
MAX_MODULES = 20_000
BLOCK_ITEMS = 4 << 20
"""Numbers of a factor that are looked at at once; most factors have fewer."""
_DOWN = (".lora_A.weight", ".lora_embedding_A")
_UP = (".lora_B.weight", ".lora_embedding_B")
CASTS = ("float16", "bfloat16")


@dataclass(frozen=True, slots=True)
class Factor:
    """One factor of an update: A, of shape (r, inputs), or B, of shape (outputs, r)."""

    rank: int
    gram: Any
    """float64 array (r, r): A A^T or B^T B; None with `problem`."""
    cast_errors: Mapping[str, float]
    """Per dtype: Frobenius norm of what casting takes away or adds."""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """The update of one module."""

    rank: int
    """Of the factors; alpha is divided by it."""
    norm: float
    """Frobenius norm, before the module's scale."""
    spectral_share: float
    """Share of the squared norm in the first singular direction; 0 for an update that is zero."""
    effective_rank: float
    """Between 1 and the rank; 0 for an update that is zero."""
    cast_change: Mapping[str, float]
    """Per dtype: at most this part of the norm changes when both factors are cast."""


def module_of(name: str) -> tuple[str, bool] | None:
    """The module that a factor's tensor belongs to, and whether it is A; None for other tensors."""
    for suffixes, down in ((_DOWN, True), (_UP, False)):
        for suffix in suffixes:
            if name.endswith(suffix):
                return name.removesuffix(suffix), down
    return None


def is_factor(tensor: Tensor) -> bool:
    """Whether `tensor` is a factor in a floating-point dtype that numpy can multiply."""
    return (
        tensor.dtype in {"F16", "BF16", "F32", "F64"} and len(tensor.shape) == 2 and module_of(tensor.name) is not None
    )


class FactorPass:
    """Collects one factor as it passes (at most `MAX_FACTOR_BYTES`), then reduces it to its Gram matrix."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        found = module_of(tensor.name)
        self._down = found is not None and found[1]
        self._rank = tensor.shape[0] if self._down else tensor.shape[1]
        size = tensor.end - tensor.begin
        self._problem = None
        if size > MAX_FACTOR_BYTES:
            self._problem = f"{size} bytes, more than the {MAX_FACTOR_BYTES} that are multiplied"
        elif self._rank > MAX_RANK:
            self._problem = f"rank {self._rank}, more than the {MAX_RANK} that are multiplied"
        self._stored = bytearray()

    def feed(self, part: memoryview) -> None:
        """The next bytes of the tensor."""
        if self._problem is None:
            self._stored += part

    def finish(self) -> Factor:
        """The factor, once its last byte has passed."""
        if self._problem is not None:
            return Factor(self._rank, None, MappingProxyType({}), self._problem)
        import numpy as np

        gram = np.zeros((self._rank, self._rank))
        squares = dict.fromkeys(CASTS, 0.0)
        # A hostile file may hold anything: what overflows becomes infinite here, and is told as such.
        with np.errstate(all="ignore"):
            for values in self._blocks():
                wide = values.astype(np.float64) if self._tensor.dtype == "F64" else values
                gram += wide @ wide.T if self._down else wide.T @ wide
                for dtype in CASTS:
                    squares[dtype] += _squared_cast_error(values, self._tensor.dtype, dtype)
        if not np.isfinite(gram).all():
            return Factor(self._rank, None, MappingProxyType({}), "its products are not finite")
        return Factor(self._rank, gram, MappingProxyType({dtype: math.sqrt(found) for dtype, found in squares.items()}))

    def _blocks(self) -> Iterator[Any]:
        """The factor cut across its long side, in float32 (float64 where it is stored so): copies stay small."""
        import numpy as np

        tensor = self._tensor
        stored = "<u2" if tensor.dtype == "BF16" else f"<f{ITEM_BYTES[tensor.dtype]}"
        whole = np.frombuffer(self._stored, dtype=stored).reshape(tensor.shape)
        step = max(1, BLOCK_ITEMS // self._rank)
        for at in range(0, tensor.shape[1 if self._down else 0], step):
            block = whole[:, at : at + step] if self._down else whole[at : at + step]
            if tensor.dtype == "BF16":
                yield (block.astype("<u4") << np.uint32(16)).view("<f4")
            else:
                yield block if tensor.dtype == "F64" else block.astype("<f4")


def _squared_cast_error(values: Any, stored: str, dtype: str) -> float:
    import numpy as np

    if (stored, dtype) in {("F16", "float16"), ("BF16", "bfloat16")}:
        return 0.0
    single = values.astype(np.float32)
    cast = single.astype(np.float16).astype(np.float32) if dtype == "float16" else to_bfloat16(single)
    difference = (single - cast).ravel()
    return float(difference @ difference) if np.isfinite(difference).all() else math.inf


def to_bfloat16(single: Any) -> Any:
    """float32 values rounded to bfloat16 (half to even), as float32; NaN stays NaN, overflow becomes infinite."""
    import numpy as np

    bits = single.view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(single), single, rounded.view(np.float32))


class Updates:
    """Pairs factors as they come and reduces each pair to its `Update`, so that no matrix is kept for long."""

    def __init__(self) -> None:
        self.found: dict[str, Update] = {}
        """By module, for a scale of 1."""
        self.problem: str | None = None
        """Why the first module that has no update has none."""
        self._waiting: dict[str, tuple[bool, Factor]] = {}
        self._bytes = 0
        self._multiplications = 0

    def wants(self, tensor: Tensor) -> bool:
        """Whether `tensor` is a factor that is still worth multiplying."""
        return self.problem is None and is_factor(tensor)

    def add(self, name: str, factor: Factor) -> None:
        """Takes the factor that the tensor `name` is."""
        found = module_of(name)
        if found is None or self.problem is not None:
            return
        module, down = found
        if factor.problem is not None or factor.rank > MAX_RANK:
            self._give_up(f"{module}: {factor.problem}")
            return
        partner = self._waiting.pop(module, None)
        if partner is None:
            self._bytes += factor.gram.nbytes
            self._waiting[module] = (down, factor)
            if self._bytes > MAX_WAITING_BYTES:
                self._give_up(f"{module}: too many factors lie far from their partners")
            return
        self._bytes -= partner[1].gram.nbytes
        self._multiplications += factor.rank**3
        if self._multiplications > MAX_MULTIPLICATIONS or len(self.found) >= MAX_MODULES:
            self._give_up(f"{module}: with it there is too much to multiply")
        elif partner[0] is down or partner[1].rank != factor.rank:
            self._give_up(f"{module}: its factors have different ranks or are the same one twice")
        else:
            self.found[module] = update_of(factor, partner[1]) if down else update_of(partner[1], factor)

    def finish(self) -> None:
        """No more factors will come."""
        if self._waiting and self.problem is None:
            self._give_up(f"{next(iter(self._waiting))}: one of its two factors is missing")

    def _give_up(self, problem: str) -> None:
        self.problem = problem
        self._waiting.clear()


def update_of(down: Factor, up: Factor) -> Update:
    """The update ``B A``; both factors have a gram matrix and the same rank."""
    import numpy as np

    squares = _squared_singular_values(down.gram, up.gram)
    total = float(squares.sum())
    norm = math.sqrt(total)
    if total == 0:
        return Update(down.rank, 0.0, 0.0, 0.0, MappingProxyType(dict.fromkeys(CASTS, 0.0)))
    shares = squares[squares > 0] / total
    spectral_down, spectral_up = (math.sqrt(max(float(np.linalg.eigvalsh(g)[-1]), 0.0)) for g in (down.gram, up.gram))
    change = {
        dtype: (up.cast_errors[dtype] * (spectral_down + down.cast_errors[dtype])
                + spectral_up * down.cast_errors[dtype]) / norm
        for dtype in CASTS
    }  # fmt: skip
    entropy = -float((shares * np.log(shares)).sum())
    return Update(down.rank, norm, float(shares.max()), math.exp(entropy), MappingProxyType(change))


def _squared_singular_values(gram_down: Any, gram_up: Any) -> Any:
    import numpy as np

    values, vectors = np.linalg.eigh(gram_down)
    root = vectors * np.sqrt(np.clip(values, 0.0, None))
    squares = np.linalg.eigvalsh(root.T @ gram_up @ root)
    squares = np.clip(squares, 0.0, None)
    # Rounding leaves a positive dust where the true value is zero.
    return np.where(squares > squares.max(initial=0.0) * 1e-12, squares, 0.0)
