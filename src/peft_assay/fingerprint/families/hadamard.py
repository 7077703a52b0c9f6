"""LoHa: s * (A1 B1) o (A2 B2), the product element by element of two low-rank matrices."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from peft_assay.fingerprint.configuration import Configuration
from peft_assay.fingerprint.interface import Operation, Part, Uncomputable, bounded, deferred
from peft_assay.fingerprint.tensors import Tensor

MARKS = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")


def parts(module: str, at: Mapping[str, Tensor], config: Configuration) -> Iterator[Part]:
    """Yield the update of `module`; for a convolution with cores (Tucker) as a matrix of its outputs."""
    if not set(MARKS) <= at.keys():
        raise Uncomputable("one of its four factors is missing", where=module)
    w1a, w1b, w2a, w2b = (at[name].values() for name in MARKS)
    rank = w1b.shape[0]
    scale = config.pattern("alpha_pattern", module, config.number("alpha", 8)) / rank
    if "hada_t1" in at and "hada_t2" in at:
        yield _cored(module, at, scale)
        return
    if w1a.shape[1] != rank or w2a.shape[1] != w2b.shape[0] or (len(w1a), w1b.shape[1]) != (len(w2a), w2b.shape[1]):
        raise Uncomputable("its four factors do not fit together", where=module)
    w1a = scale * w1a

    def rows(begin: int, end: int) -> Any:
        return (w1a[begin:end] @ w1b) * (w2a[begin:end] @ w2b)

    yield Part(module, Operation.ADD, (len(w1a), w1b.shape[1]), rows=rows, stored=(w1a, w1b, w2a, w2b))


def _cored(module: str, at: Mapping[str, Tensor], scale: float) -> Part:
    w1a, w1b, w2a, w2b, t1, t2 = (at[name].values() for name in (*MARKS, "hada_t1", "hada_t2"))
    w1a = scale * w1a
    shape = (w1a.shape[1], w1b.shape[1] * math.prod(t1.shape[2:]))
    return deferred(
        module,
        Operation.ADD,
        shape,
        lambda: tucker(module, t1, w1a, w1b) * tucker(module, t2, w2a, w2b),
        (w1a, w1b, w2a, w2b, t1, t2),
    )


def tucker(module: str, core: Any, one: Any, other: Any) -> Any:
    """Return the convolution that a core and its two factors make, as PEFT's ``make_weight_cp``."""
    bounded(module, one.shape[1], other.shape[1], *core.shape[2:])
    return np.einsum("ijkl,ip,jr->prkl", core, one, other, optimize=True)
