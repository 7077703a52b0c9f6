"""LoKr: s * (W1 (x) W2), a Kronecker product whose two matrices are stored whole or in factors."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from peft_assay.fingerprint.configuration import Configuration
from peft_assay.fingerprint.families.hadamard import tucker
from peft_assay.fingerprint.interface import Operation, Part, Uncomputable, bounded, deferred
from peft_assay.fingerprint.tensors import Tensor

MARKS = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b")
_SCALED = ("lokr_w1", "lokr_w1_a")
"""The tensors that the scale is folded into for the digest."""


def parts(module: str, at: Mapping[str, Tensor], config: Configuration) -> Iterator[Part]:
    """Yield the update of `module`."""
    rank = config.pattern("rank_pattern", module, config.number("r", 8))
    if rank <= 0:
        raise Uncomputable(f"its rank is {rank}", where=module)
    scale = config.pattern("alpha_pattern", module, config.number("alpha", 8)) / rank
    stored = tuple(scale * at[name].values() if name in _SCALED else at[name].values() for name in sorted(at))
    outer, inner = scale * _whole(module, at, "lokr_w1"), _whole(module, at, "lokr_w2")
    if inner.ndim > 2:
        shape = (len(outer) * len(inner), outer.shape[1] * math.prod(inner.shape[1:]))
        yield deferred(module, Operation.ADD, shape, lambda: np.kron(outer[..., None, None], inner), stored)
        return
    height = len(inner)

    def rows(begin: int, end: int) -> Any:
        at_rows = np.arange(begin, min(end, len(outer) * height))
        product = outer[at_rows // height][:, :, None] * inner[at_rows % height][:, None, :]
        return product.reshape(len(at_rows), -1)

    shape = (len(outer) * height, outer.shape[1] * inner.shape[1])
    yield Part(module, Operation.ADD, shape, rows=rows, stored=stored)


def _whole(module: str, at: Mapping[str, Tensor], name: str) -> Any:
    """Return one of the two matrices; where it is stored in factors their product is rounded, as any product is."""
    if name in at:
        return at[name].values()
    if f"{name}_a" not in at or f"{name}_b" not in at:
        raise Uncomputable(f"{name} is missing", where=module)
    one, other = at[f"{name}_a"].values(), at[f"{name}_b"].values()
    core = at.get(name.replace("_w", "_t"))
    if core is not None:
        return tucker(module, core.values(), one, other)
    if one.shape[1] != other.shape[0]:
        raise Uncomputable(f"the factors of {name} do not fit together", where=module)
    bounded(module, len(one), other.shape[1])
    return one @ other
