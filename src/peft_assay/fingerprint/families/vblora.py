"""VB-LoRA: factors mixed from a bank of vectors that all modules share."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from peft_assay.fingerprint.configuration import Configuration
from peft_assay.fingerprint.interface import Operation, Part, Uncomputable, bounded, factors, plain
from peft_assay.fingerprint.tensors import Tensor

MARKS = ("vblora_logits_A", "vblora_logits_B")
BANK = "vblora_vector_bank"


def parts(module: str, at: Mapping[str, Tensor], config: Configuration) -> Iterator[Part]:
    """Yield the update of `module`; where only the chosen weights were saved, these as they are."""
    if not {*MARKS, BANK} <= at.keys():
        raise Uncomputable("its logits or the bank are missing", where=module)
    if config.flag("save_only_topk_weights"):
        for name in MARKS:
            yield plain(f"{module}.{name}", Operation.TENSOR, at[name].values())
        yield plain(BANK, Operation.TENSOR, at[BANK].values())
        return
    down, up, bank = at[MARKS[0]].values(), at[MARKS[1]].values(), at[BANK].values()
    most = int(config.number("topk", 2))
    if down.ndim != 3 or up.ndim != 3 or bank.ndim != 2 or not down.shape[2] == up.shape[2] == len(bank) >= most > 0:
        raise Uncomputable("its logits and the bank do not fit together", where=module)
    bounded(module, max(down.shape[0] * down.shape[1], up.shape[0] * up.shape[1]), most, bank.shape[1])
    a = _mixed(down, bank, most).reshape(down.shape[0], -1)
    b = np.swapaxes(_mixed(up, bank, most), 1, 2).reshape(-1, up.shape[1])
    yield factors(module, Operation.ADD, b, a, (down, up, bank))


def _mixed(logits: Any, bank: Any, most: int) -> Any:
    chosen = np.argsort(-logits, axis=-1, kind="stable")[..., :most]
    weights = np.exp(np.take_along_axis(logits, chosen, -1) - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return (weights[..., None] * bank[chosen]).sum(-2)
