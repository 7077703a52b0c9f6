"""How strongly an adapter acts, for the types that have a number for it."""

import math
from typing import Any

SCALES = ("scaling", "fourierft_scaling", "waveft_scaling", "deft_scaling")
"""Attributes by which PEFT's layers multiply what an adapter adds: dictionaries from adapter name to number.

Orthogonal types divide or bound something else by an attribute of the same name, and have no strength in this sense.
"""
ORTHOGONAL = frozenset({"OFT", "BOFT", "HRA", "PSOFT"})
OWN = "_peft_assay_scale"
"""Attribute of a layer under which its own scale is kept, so that factor 1 restores it exactly."""


def scale_adapter(model: Any, factor: float) -> int:
    """Lets the adapter on `model` act with `factor` times its own strength; gives the number of layers scaled.

    Raises ValueError when `factor` is not a finite number.
    """
    if not math.isfinite(factor):
        raise ValueError("an adapter's strength is a finite number")
    config = next(iter(getattr(model, "peft_config", {}).values()), None)
    if config is None or config.peft_type in ORTHOGONAL:
        return 0
    return sum(_scale(module, factor) for module in model.modules())


def _scale(module: Any, factor: float) -> bool:
    if type(module).__module__.split(".", 1)[0] != "peft":
        return False
    scales = [found for name in SCALES if isinstance(found := module.__dict__.get(name), dict) and found]
    kept = module.__dict__.setdefault(OWN, [dict(numbers) for numbers in scales])
    for numbers, own in zip(scales, kept, strict=True):
        numbers.update({adapter: value * factor for adapter, value in own.items()})
    return bool(scales)
