"""``{"op": "effect", "prompts": [...]}``: does the adapter do anything, the same thing twice, and leave the base be?"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from peft_assay_harness.ops.load import attach_adapter
from peft_assay_harness.session import Session
from peft_assay_harness.strength import scale_adapter
from peft_assay_loading.load import detach
from peft_assay_loading.state import base_state

NOISE = 1e-5
"""Relative to the base's largest logit: float32 noise of adding an exact zero (DoRA recomputes norms) is below it."""
FIRST_TOKENS = 16
"""Of the shortest prompt, that tell of nearly every adapter; all prompts are asked only where these do not."""


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """Compares what is said to the prompts: adapter against base, and two loads of the same bytes with each other."""
    engine = session.exercised()
    prompts = sorted(request["prompts"], key=lambda prompt: engine.length(prompt) or 0)
    glance = partial(engine.outputs, prompts[:1], most=FIRST_TOKENS)
    loaded = glance()
    bare, rest = loaded, None
    if session.files is not None:
        engine.tokenizer = session.plain
        engine.use(detach(engine.model))
        session.loaded = False
        bare = glance()
        if not _differs(loaded, bare):
            rest = engine.outputs(prompts)
        attach_adapter(session)
        scale_adapter(engine.model, session.factor)
    again = glance()
    pairs = [(loaded, bare)]
    if rest is not None:
        pairs.append((engine.outputs(prompts), rest))
    return {
        "op": "effect",
        "differs": any(_differs(own, base) for own, base in pairs),
        "deterministic": torch.equal(loaded.view(torch.int32), again.view(torch.int32)),
        "baseState": base_state(engine.model),
        "finite": _finite([own for own, _ in pairs]),
    }


def _differs(own: torch.Tensor, base: torch.Tensor) -> bool:
    """Return whether what both say differs; of a larger vocabulary the tokens that the base has too."""
    both = min(own.shape[-1], base.shape[-1])
    far = (own[..., :both] - base[..., :both]).abs() > NOISE * base.abs().max().clamp(min=1.0)
    return bool(far.any()) or not _finite([own])


def _finite(outputs: Sequence[torch.Tensor]) -> bool:
    return all(bool(torch.isfinite(output).all()) for output in outputs)
