"""``{"op": "score", "items": [{"prompt", "continuation": [ids]}]}``: how likely are given tokens after a prompt?"""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.engine import Row
from peft_assay_harness.session import Session


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """Log-likelihood of each continuation."""
    engine = session.exercised()
    rows = []
    for item in request["items"]:
        context = engine.encode(item["prompt"])
        rows.append(Row(context + item["continuation"], len(context)))
    return {"op": "score", "logLikelihoods": engine.log_likelihoods(rows)}
