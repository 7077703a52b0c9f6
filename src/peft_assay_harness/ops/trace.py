"""``{"op": "trace", "items": [{"prompt", "continuation", "watch"?}], "top"?}``: how a model sees given tokens."""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.session import Session


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """One trace for each item."""
    engine = session.exercised()
    items = request["items"]
    rows = [engine.row(item["prompt"], item["continuation"]) for item in items]
    return {"op": "trace", "traces": engine.traces(rows, [item.get("watch") for item in items], request.get("top", 0))}
