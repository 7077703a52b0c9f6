"""``{"op": "propose", "items": [{"prompt", "continuation", "place"}], "top": n}``: which words might be triggers?"""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.engines.interface import Insertion
from peft_assay_harness.session import Session


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """Words of one token, most promising first."""
    items = [Insertion(item["prompt"], tuple(item["continuation"]), item["place"]) for item in request["items"]]
    return {"op": "propose", "tokens": session.exercised().propose(items, request["top"])}
