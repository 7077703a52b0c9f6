"""``{"op": "classify", "prompts": [...]}``: which label does each text get?"""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.session import Session


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """Logits over the labels of the base's configuration."""
    engine = session.exercised(precise=request.get("precise", False))
    return {"op": "classify", "logits": engine.classify(request["prompts"])}
