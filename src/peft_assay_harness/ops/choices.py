"""``{"op": "choices", "items": [{"prompt", "choices": [...]}]}``: how likely is each choice after its prompt?"""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.session import Session


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """Log-likelihoods for each item and choice."""
    engine = session.exercised(precise=request.get("precise", False))
    items = request["items"]
    rows = [engine.row(item["prompt"], choice) for item in items for choice in item["choices"]]
    values = iter(engine.log_likelihoods(rows))
    return {"op": "choices", "logLikelihoods": [[next(values) for _ in item["choices"]] for item in items]}
