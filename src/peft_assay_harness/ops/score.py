"""``{"op": "score", "items": [{"prompt", "continuation": [ids] or text}]}``: how likely is it after a prompt?"""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.session import Session


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """Log-likelihood of each continuation, and of how many tokens it is."""
    engine = session.exercised(precise=request.get("precise", False))
    rows = [engine.row(item["prompt"], item["continuation"]) for item in request["items"]]
    counts = [len(row.continuation) for row in rows]
    return {"op": "score", "logLikelihoods": engine.log_likelihoods(rows), "counts": counts}
