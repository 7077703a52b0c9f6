"""``{"op": "measure", "prompts": [...]}``: how long are these, and what is the longest that fits?"""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.session import Session


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """Tokens of each prompt, and the base's bound."""
    engine = session.exercised()
    lengths = [engine.length(prompt) for prompt in request["prompts"]]
    return {"op": "measure", "lengths": lengths, "longest": engine.longest}
