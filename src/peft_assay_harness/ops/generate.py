"""``{"op": "generate", "prompts": [...], "maxNewTokens": n}``: greedy answers."""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.session import Session


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """Texts without special tokens, and the token ids as they came."""
    engine = session.exercised()
    prompts = [engine.encode(prompt) for prompt in request["prompts"]]
    tokens = engine.generate(prompts, request["maxNewTokens"])
    texts = engine.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return {"op": "generate", "texts": texts, "tokens": tokens}
