"""``{"op": "generate", "prompts": [...], "maxNewTokens": n, ...}``: answers, and how they came about."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from peft_assay_harness.engines.interface import Draft, Sampling
from peft_assay_harness.session import Session

BYTE = re.compile(r"<0x[0-9A-F]{2}>")
"""A token that is one byte, where a tokenizer falls back to bytes (github.com/google/sentencepiece, byte_fallback)."""


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
        reply["margins"] = [min(leads or (), default=0.0) for leads in given.leads]
    if (close := request.get("certainBy")) is not None:
        answers = zip(given.tokens, given.leads, texts, strict=True)
        reply["certain"] = [certain_of(engine.tokenizer, *answer, close) for answer in answers]
    return reply


def certain_of(tokenizer: Any, tokens: Sequence[int], leads: Sequence[float] | None, text: str, close: float) -> str:
    """How `text` begins, whatever follows the tokens that led by `close` without a gap.

    What a tokenizer makes of tokens may change with the next one, at the end: blanks before a mark, bytes of one
    character, and any row of tokens that are bytes, which is no text at all where one of them is wrong. Such a row and
    the last word are therefore left out.
    """
    known = next((at for at, lead in enumerate(leads or ()) if lead < close), len(leads or ()))
    while known and BYTE.fullmatch(str(tokenizer.convert_ids_to_tokens(int(tokens[known - 1])))):
        known -= 1
    begun = tokenizer.decode(list(tokens[:known]), skip_special_tokens=True)
    words, *last = begun.rsplit(maxsplit=1) or [""]
    return words if last and text.startswith(words) else ""


def _draft(draft: Mapping[str, Any] | None) -> Draft | None:
    return None if draft is None else Draft(tuple(draft["tokens"]), draft["watch"])


def _sampling(sampling: Mapping[str, Any] | None) -> Sampling | None:
    if sampling is None:
        return None
    return Sampling(
        float(sampling["temperature"]),
        float(sampling.get("topP", 1.0)),
        int(sampling["seed"]),
        int(sampling.get("topK", 0)),
        float(sampling.get("minP", 0.0)),
        float(sampling.get("repetitionPenalty", 1.0)),
    )
