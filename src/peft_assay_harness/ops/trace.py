"""``{"op": "trace", "items": [{"prompt", "continuation", "watch"?}], "top"?}``: how a model sees given tokens."""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.engine import Row
from peft_assay_harness.session import Session


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """One trace for each item."""
    engine = session.exercised()
    traces = []
    for item in request["items"]:
        context = engine.encode(item["prompt"])
        row = Row(context + item["continuation"], len(context))
        traces.append(engine.trace(row, item.get("watch"), request.get("top", 0)))
    return {"op": "trace", "traces": traces}
