"""``{"op": "score", "items": [{"prompt", "continuation": [ids] or text}]}``: how likely is it after a prompt?"""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.engine import Row
from peft_assay_harness.session import Session


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """Log-likelihood of each continuation, and of how many tokens it is."""
    engine = session.exercised()
    rows = []
    for item in request["items"]:
        if isinstance(item["continuation"], str):
            rows.append(engine.encode_pair(item["prompt"], item["continuation"]))
            continue
        context = engine.encode(item["prompt"])
        rows.append(Row(context + item["continuation"], len(context)))
    counts = [len(row.tokens) - row.start for row in rows]
    return {"op": "score", "logLikelihoods": engine.log_likelihoods(rows), "counts": counts}
