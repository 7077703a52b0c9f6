"""``{"op": "scale", "factor": f}``: from now on the adapter acts with f times its own strength."""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.session import Session
from peft_assay_harness.strength import scale_adapter


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """How many layers have a strength that could be scaled."""
    scaled = scale_adapter(session.exercised().model, request["factor"])
    session.factor = request["factor"]
    session.changed()
    return {"op": "scale", "modules": scaled}
