"""``{"op": "generate", "prompts": [...], "maxNewTokens": n, ...}``: answers, and how they came about."""

from collections.abc import Mapping
from typing import Any

from peft_assay_harness.engines.interface import Draft, Sampling
from peft_assay_harness.session import Session


def answer(session: Session, request: Mapping[str, Any]) -> dict[str, Any]:
    """Texts without special tokens, the token ids as they came, and what else was asked of them."""
    engine = session.exercised(precise=request.get("precise", False))
    prompts = [engine.encode(prompt) for prompt in request["prompts"]]
    shown = request.get("drafts")
    drafts = None if shown is None else [_draft(draft) for draft in shown]
    top = request.get("top", 0)
    given = engine.generate(prompts, request["maxNewTokens"], drafts, _sampling(request.get("sampling")), top)
    texts = engine.tokenizer.batch_decode([list(row) for row in given.tokens], skip_special_tokens=True)
    reply = {"op": "generate", "texts": texts, "tokens": [list(row) for row in given.tokens]}
    if drafts is not None or top:
        reply["traces"] = given.traces
    if request.get("margins"):
        reply["margins"] = given.margins
    return reply


def _draft(draft: Mapping[str, Any] | None) -> Draft | None:
    return None if draft is None else Draft(tuple(draft["tokens"]), draft["watch"])


def _sampling(sampling: Mapping[str, Any] | None) -> Sampling | None:
    if sampling is None:
        return None
    return Sampling(float(sampling["temperature"]), float(sampling.get("topP", 1.0)), int(sampling["seed"]))
