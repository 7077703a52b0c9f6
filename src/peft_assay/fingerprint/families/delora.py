"""DeLoRA: directions of unit length, one strength, and the base's column norms, which its file holds."""

from collections.abc import Iterator, Mapping

import numpy as np

from peft_assay.fingerprint.configuration import Configuration
from peft_assay.fingerprint.interface import Operation, Part, Uncomputable, factors
from peft_assay.fingerprint.tensors import Tensor

MARKS = ("delora_A", "delora_B", "delora_lambda", "delora_w_norm")
_LEAST = 1e-4
"""The least norm of a direction: shorter ones are not lengthened to one."""


def parts(module: str, at: Mapping[str, Tensor], _: Configuration) -> Iterator[Part]:
    """Yield the update B diag(lambda / r / (|A_i| |B_i|)) A diag(w), as PEFT computes it."""
    if not set(MARKS) <= at.keys():
        raise Uncomputable("one of its four tensors is missing", where=module)
    a, b, strength, widths = (at[name].values() for name in MARKS)
    if a.ndim != 2 or b.ndim != 2 or b.shape[1] != len(a) or widths.size != a.shape[1] or strength.size != 1:
        raise Uncomputable("its four tensors do not fit together", where=module)
    lengths = np.maximum(np.linalg.norm(a, axis=1), _LEAST) * np.maximum(np.linalg.norm(b, axis=0), _LEAST)
    left = b * (float(strength.ravel()[0]) / len(a) / lengths)
    yield factors(module, Operation.ADD, left, a * widths.reshape(1, -1), (a, b, strength, widths))
