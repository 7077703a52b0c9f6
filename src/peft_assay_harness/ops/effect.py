"""``{"op": "effect", "prompts": [...]}``: does the adapter do anything, the same thing twice, and leave the base be?"""

from collections.abc import Mapping
from typing import Any

import torch

from peft_assay_harness.ops.load import attach_adapter
from peft_assay_harness.session import Session
from peft_assay_harness.strength import scale_adapter
from peft_assay_loading.load import detach
from peft_assay_loading.state import base_state

NOISE = 1e-5
"""Relative to the base's largest logit: float32 noise of adding an exact zero (DoRA recomputes norms) is below it."""


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """Compares what is said to each prompt: adapter against base, and two loads of the same bytes with each other."""
    engine = session.exercised()
    prompts = request["prompts"]
    first = engine.outputs(prompts)
    base = first
    if session.files is not None:
        engine.use(detach(engine.model))
        session.loaded = False
        base = engine.outputs(prompts)
        attach_adapter(session)
        scale_adapter(engine.model, session.factor)
    second = engine.outputs(prompts)
    return {
        "op": "effect",
        "differs": not bool(((first - base).abs() <= NOISE * base.abs().max().clamp(min=1.0)).all()),
        "deterministic": torch.equal(first.view(torch.int32), second.view(torch.int32)),
        "baseState": base_state(engine.model),
        "finite": bool(torch.isfinite(first).all()),
    }
