"""A float32 copy of a model in half precision, adapter included, for answers that are too close to call."""

import copy
from typing import Any

import torch

from peft_assay_loading.load import BEFORE


def precise_copy(model: Any) -> Any:
    """A copy in float32, four bytes for each parameter; `model` itself where it is in float32 (or better) already."""
    if all(not tensor.is_floating_point() or tensor.element_size() >= 4 for tensor in model.parameters()):
        return model
    before = model.__dict__.pop(BEFORE, None)  # what taking the adapter off restores belongs to the original
    try:
        with torch.inference_mode(mode=False):
            twin = copy.deepcopy(model)
    finally:
        if before is not None:
            model.__dict__[BEFORE] = before
    return twin.float().eval()
