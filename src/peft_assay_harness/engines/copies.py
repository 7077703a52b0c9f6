"""A float32 copy of a model in half precision, adapter included, for answers that are too close to call."""

import copy
from collections import OrderedDict
from typing import Any

import torch

from peft_assay_harness.engines.blocked import PACK_BYTES, pack
from peft_assay_harness.engines.sameness import Kept
from peft_assay_loading.snapshot import BEFORE

PRECISE = torch.float32.itemsize
"""Bytes of a number, at least."""


_twins = Kept()
"""Weights in float32, by those in half precision."""


def keep_precise(model: Any) -> int:
    """Converts `model`'s weights in advance, for the copies that this process's forks will make; gives how many.

    None of a base that is in float32, that is not in the processor's memory, or that would take more than weights may
    that every fork has to map (blocked.py): its forks convert what they need themselves.
    """
    weights = [parameter for parameter in model.parameters() if _is_half(parameter)]
    large = sum(weight.numel() for weight in weights) * PRECISE > PACK_BYTES
    if not weights or large or any(weight.device.type != "cpu" for weight in weights):
        return 0
    twin = precise_copy(model)
    for weight, precise in zip(model.parameters(), twin.parameters(), strict=True):
        if _is_half(weight):
            _twins.keep(weight, precise)
    pack(twin)
    return len(weights)


def precise_copy(model: Any) -> Any:
    """A copy in float32, four bytes for each parameter; `model` itself where it is in float32 (or better) already."""
    if not any(map(_is_half, model.parameters())):
        return model
    before = model.__dict__.pop(BEFORE, None)  # what taking the adapter off restores belongs to the original
    known = {id(weight): made for weight in model.parameters() if (made := _twins.of(weight)) is not None}
    known.update(_without_hooks(model))
    try:
        with torch.inference_mode(mode=False):
            twin = copy.deepcopy(model, known)
            for tensor in (*twin.parameters(), *twin.buffers()):
                if _is_half(tensor):
                    tensor.data = tensor.data.float()
    finally:
        if before is not None:
            model.__dict__[BEFORE] = before
    return twin.eval()


def _without_hooks(model: Any) -> dict[int, Any]:
    """Copies of all that is empty in modules, by what they are of: a dozen kinds of hooks in each, which nobody set.

    They are most of what a copy consists of, and most of its time.
    """
    values = (value for module in model.modules() for value in vars(module).values())
    return {id(value): OrderedDict() for value in values if type(value) is OrderedDict and not value}


def _is_half(tensor: Any) -> bool:
    return bool(tensor.is_floating_point()) and tensor.element_size() < PRECISE
