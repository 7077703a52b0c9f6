"""GraLoRA: a grid of low-rank blocks, and for its hybrids a LoRA besides."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from peft_assay.fingerprint.configuration import Configuration
from peft_assay.fingerprint.interface import Operation, Part, Uncomputable, bounded, factors
from peft_assay.fingerprint.tensors import Tensor

MARKS = ("gralora_A", "gralora_B")


def parts(module: str, at: Mapping[str, Tensor], config: Configuration) -> Iterator[Part]:
    """Yield the update of `module` in factors of rank k * r, and the update of the hybrid part."""
    if not set(MARKS) <= at.keys():
        raise Uncomputable("one of its two factors is missing", where=module)
    a, b = at["gralora_A"].values(), at["gralora_B"].values()
    if a.ndim != 3 or b.ndim != 3 or a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1] or a.shape[2] % a.shape[0]:
        raise Uncomputable("its two factors do not fit together", where=module)
    alpha = config.pattern("alpha_pattern", module, config.number("alpha", 64))
    hybrid = {"gralora_A_general", "gralora_B_general"} <= at.keys()
    extra = at["gralora_A_general"].shape[0] if hybrid else 0
    scale = alpha / (a.shape[2] + extra)
    left, right = _grid(module, a, b)
    if hybrid:
        left = np.hstack([left, at["gralora_B_general"].values()])
        right = np.vstack([right, at["gralora_A_general"].values()])
    yield factors(module, Operation.ADD, scale * left, right)


def _grid(module: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Return both factors as grids: block k of the outputs uses block n of the inputs through the k-th group of ranks
    of block n.
    """
    blocks, width, rank = a.shape
    bounded(module, blocks, rank, blocks, max(width, b.shape[2]))
    group = rank // blocks
    right = np.zeros((blocks, rank, blocks, width))
    for n in range(blocks):
        for k in range(blocks):  # in PEFT's order: rank n * group + s of output block k
            right[k, n * group : (n + 1) * group, n] = a[n, :, k * group : (k + 1) * group].T
    left = np.zeros((blocks, b.shape[2], blocks, rank))
    for k in range(blocks):
        left[k, :, k] = b[k].T
    return left.reshape(blocks * b.shape[2], -1), right.reshape(blocks * rank, -1)
