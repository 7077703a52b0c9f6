"""The requests that a child answers; each gives the reply that the wire protocol prescribes for it."""

from collections.abc import Callable, Mapping
from typing import Any

from peft_assay_harness.ops import (
    apply,
    choices,
    classify,
    effect,
    generate,
    load,
    measure,
    propose,
    scale,
    score,
    trace,
)
from peft_assay_harness.session import Session

Request = Mapping[str, Any]

OPERATIONS: Mapping[str, Callable[[Session, Request], dict[str, Any]]] = {
    "load": load.answer,
    "apply": apply.answer,
    "measure": measure.answer,
    "effect": effect.answer,
    "scale": scale.answer,
    "choices": choices.answer,
    "generate": generate.answer,
    "score": score.answer,
    "trace": trace.answer,
    "classify": classify.answer,
    "propose": propose.answer,
}


def answer(session: Session, request: Request) -> dict[str, Any]:
    """The reply to `request`; raises KeyError for an unknown operation."""
    return OPERATIONS[request["op"]](session, request)
