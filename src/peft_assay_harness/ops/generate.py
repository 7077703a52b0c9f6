"""``{"op": "generate", "prompts": [...], "maxNewTokens": n, "drafts"?}``: greedy answers."""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.engine import Row
from peft_assay_harness.session import Session


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """Texts without special tokens, and the token ids as they came."""
    engine = session.exercised()
    prompts = [engine.encode(prompt) for prompt in request["prompts"]]
    tokens = engine.generate(prompts, request["maxNewTokens"])
    texts = engine.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    reply = {"op": "generate", "texts": texts, "tokens": tokens}
    if "drafts" in request:
        reply["traces"] = [
            None if draft is None else engine.trace(Row(prompt + draft["tokens"], len(prompt)), draft["watch"], 0)
            for prompt, draft in zip(prompts, request["drafts"], strict=True)
        ]
    return reply
