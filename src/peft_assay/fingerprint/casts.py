"""Dtypes that adapters are converted to, and the value of float64 numbers in each."""

from typing import Any

import numpy as np

from peft_assay.fingerprint.tensors import Cast


def to_float16(values: Any) -> Any:
    """Round as numpy and torch do: half to even; a number that is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32).astype(np.float16).astype(np.float64)


def to_bfloat16(values: Any) -> Any:
    """Round as torch does: to float32 first, then half to even."""
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) & np.uint32(0xFFFF0000)
    return rounded.view(np.float32).astype(np.float64)


def through_both(values: Any) -> Any:
    """Round to float16 first, then to bfloat16."""
    return to_bfloat16(to_float16(values))


CASTS: tuple[Cast | None, ...] = (None, to_float16, to_bfloat16, through_both)
"""The adapter as stored, and after plain conversions. A conversion makes no other adapter, though it may move an update
further than the last steps of a training do."""
