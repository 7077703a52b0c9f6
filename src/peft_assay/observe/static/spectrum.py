r"""The effective update of a low-rank adapter, :math:`\Delta W = s B A`, without ever forming it.

With the Gram matrices :math:`G_A = A A^T` and :math:`G_B = B^T B` (both r x r), the singular values of :math:`B A` are
the square roots of the eigenvalues of :math:`G_A^{1/2} G_B G_A^{1/2}`: two small matrices per module say norm,
spectral share and effective rank of an update of any size. Effective rank is the exponential of the entropy of the
normalised squared singular values (Roy and Vetterli 2007, of their squares). Where the parts of an update cancel each
other, these squares are rounding alone: `peft_assay.observe.static.product` then multiplies the factors themselves.
"""

import math
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from peft_assay.observe.static.header import Tensor
from peft_assay.observe.static.product import (
    CASTS,
    MAX_EXACT,
    Cancelled,
    Factor,
    Stored,
    Update,
    blocks,
    needs_double,
    update_of,
)

MAX_FACTOR_BYTES = 64 << 20
"""Stored bytes; a larger factor is not multiplied."""
MAX_RANK = 512
MAX_WAITING_BYTES = 64 << 20
"""Of factors whose partner has not come yet; PEFT writes the two next to each other."""
MAX_MULTIPLICATIONS = 20_000_000_000
"""Sum over modules of rank cubed: some ten CPU-seconds of eigenvalues. Small files could ask for hours."""
MAX_MODULES = 20_000
MAX_KEPT_BYTES = 16 << 20
"""Most bytes of factors that are kept until their partner is read, in case the two cancel each other."""
_DOWN = (".lora_A.weight", ".lora_embedding_A")
_UP = (".lora_B.weight", ".lora_embedding_B")


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
        stored = Stored(self._stored, self._tensor.dtype, self._tensor.shape, self._down)
        # A hostile file may hold anything: what overflows becomes infinite here, and is told as such.
        with np.errstate(all="ignore"):
            for values in blocks(stored):
                piece = values.T @ values
                if needs_double(piece, values):
                    wide = values.astype(np.float64)
                    piece = wide.T @ wide
                gram += piece
                for dtype in CASTS:
                    squares[dtype] += _squared_cast_error(values, self._tensor.dtype, dtype)
        if not np.isfinite(gram).all():
            return Factor(self._rank, None, MappingProxyType({}), "its products are not finite")
        errors = MappingProxyType({dtype: math.sqrt(found) for dtype, found in squares.items()})
        return Factor(self._rank, gram, errors, stored=stored)


def _squared_cast_error(values: Any, stored: str, dtype: str) -> float:
    import numpy as np

    if (stored, dtype) in {("F16", "float16"), ("BF16", "bfloat16")}:
        return 0.0
    single = values.astype(np.float32)
    cast = single.astype(np.float16).astype(np.float32) if dtype == "float16" else to_bfloat16(single)
    difference = (single - cast).ravel(order="K")
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
        self._kept = 0
        self._exact: float = MAX_EXACT
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
            self._waiting[module] = (down, self._keep(factor))
            if self._bytes > MAX_WAITING_BYTES:
                self._give_up(f"{module}: too many factors lie far from their partners")
            return
        self._bytes -= partner[1].gram.nbytes
        self._kept -= partner[1].bytes
        self._multiplications += factor.rank**3
        if self._multiplications > MAX_MULTIPLICATIONS or len(self.found) >= MAX_MODULES:
            self._give_up(f"{module}: with it there is too much to multiply")
        elif partner[0] is down or partner[1].rank != factor.rank:
            self._give_up(f"{module}: its factors have different ranks or are the same one twice")
        else:
            self._pair(module, *((factor, partner[1]) if down else (partner[1], factor)))

    def _keep(self, factor: Factor) -> Factor:
        """Return the factor, with its own numbers only while there is room for them."""
        if self._kept + factor.bytes > MAX_KEPT_BYTES:
            return replace(factor, stored=None)
        self._kept += factor.bytes
        return factor

    def _pair(self, module: str, down: Factor, up: Factor) -> None:
        try:
            self.found[module], spent = update_of(down, up, self._exact)
        except Cancelled as problem:
            self._give_up(f"{module}: {problem}")
            return
        self._exact -= spent

    def finish(self) -> None:
        """No more factors will come."""
        if self._waiting and self.problem is None:
            self._give_up(f"{next(iter(self._waiting))}: one of its two factors is missing")

    def _give_up(self, problem: str) -> None:
        self.problem = problem
        self._waiting.clear()
