"""A float32 copy of a model in half precision, adapter included, for answers that are too close to call."""

import copy
from dataclasses import dataclass
from typing import Any

import torch

from peft_assay_harness.engines.blocked import PACK_BYTES, pack
from peft_assay_loading.load import BEFORE

PRECISE = torch.float32.itemsize
"""Bytes of a number, at least."""


@dataclass(frozen=True, slots=True)
class _Twin:
    weight: Any
    """In half precision."""
    memory: int
    version: int
    precise: Any


_twins: dict[int, _Twin] = {}


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
            _twins[id(weight)] = _Twin(weight, weight.data_ptr(), weight._version, precise)  # noqa: SLF001 - as blocked.py
    pack(twin)
    return len(weights)


def precise_copy(model: Any) -> Any:
    """A copy in float32, four bytes for each parameter; `model` itself where it is in float32 (or better) already."""
    if not any(map(_is_half, model.parameters())):
        return model
    before = model.__dict__.pop(BEFORE, None)  # what taking the adapter off restores belongs to the original
    known = {id(weight): found.precise for weight in model.parameters() if (found := _twin_of(weight)) is not None}
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


def _is_half(tensor: Any) -> bool:
    return bool(tensor.is_floating_point()) and tensor.element_size() < PRECISE


def _twin_of(weight: Any) -> _Twin | None:
    """Of a weight that is still what it was."""
    found = _twins.get(id(weight))
    if found is None or found.weight is not weight:
        return None
    same = found.memory == weight.data_ptr() and found.version == weight._version  # noqa: SLF001 - as blocked.py
    return found if same else None
