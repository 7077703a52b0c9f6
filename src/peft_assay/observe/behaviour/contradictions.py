"""Find contradictions within a child's reply: numbers that no distribution has, answers that contradict its numbers.

Every reply is the child's own word, and code that runs inside may reply anything. But its replies must agree with each
other, or the supervisor sees it: a greedy answer is the likeliest token at each position, so the
trace of a draft decides how an answer may begin; probabilities add up to one; an entropy follows from them within
bounds; the same tokens are the same text. The numbers of one position come from one row of float32 logits, in whatever
dtype the base computes, so the tolerance for rounding is small and the same for all dtypes.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest
from peft_assay.observe.behaviour.strength import Strength

SLACK = 2e-3
"""Nats by which two numbers of one row of logits may differ, and probabilities add up to more than 1: a hundred times
float32's rounding of log-probabilities above -100; smaller ones are not compared."""
ENTROPY_SLACK = 0.02
"""The tolerance of an entropy in nats, which sums as many rounded products as a vocabulary has tokens."""
LARGEST_VOCABULARY = 1 << 24
"""The number of tokens where the base does not state it."""
LEAST_LOG = -100.0
NEAR_TIE = {True: 0.5, False: 0.02}
"""By whether the base computes in half precision: the lead in nats that each token of an answer must have, so that the
answer does not depend on the other prompts of its batch."""
SHARE_SLACK = {True: 0.5, False: 1e-2}
"""By whether the base computes in half precision: nats by which the probabilities of choices, which come from several
passes, may add up to more than 1 (docs/performance.md: 0.27 seen in bfloat16, 4e-5 in float32)."""


@dataclass(frozen=True, slots=True)
class Known:
    """The supervisor's own knowledge, without the child's replies."""

    vocabulary: int = LARGEST_VOCABULARY
    half: bool = False
    """Whether the base computes in half precision."""
    drafts: bool = True
    """Whether an answer begins by the draft's own pass: an activated LoRA answers in a new pass."""
    strength: Strength = field(default_factory=Strength)
    texts: dict[tuple[int, ...], str] = field(default_factory=dict)
    """Texts of token rows: those of the base, and those in earlier replies of the child."""
    answers: dict[Digest, tuple[tuple[int, ...], float]] = field(default_factory=dict)
    """By question (prompt and most tokens): the answer at the adapter's own strength, and its tokens' least lead."""


def contradiction(request: Mapping[str, Any], reply: Mapping[str, Any], known: Known) -> str | None:
    """Return the first contradiction within `reply`, in one line; None where there is none.

    Both have the form of the protocol. Whether their lengths fit is asked elsewhere.
    """
    checks = _CHECKS.get(request["op"])
    return None if checks is None else next(checks(request, reply, known), None)


def _of_generate(request: Mapping[str, Any], reply: Mapping[str, Any], known: Known) -> Iterator[str]:
    drafts = request.get("drafts") or [None] * len(request["prompts"])
    traces = reply.get("traces") or [None] * len(drafts)
    margins = reply.get("margins") or [None] * len(drafts)
    for tokens, text, draft, trace, margin in zip(
        reply["tokens"], reply["texts"], drafts, traces, margins, strict=False
    ):
        if not tokens and request["maxNewTokens"] > 0:
            yield "an answer without any token"
        if any(token >= known.vocabulary for token in tokens):
            yield "an answer with tokens that the base does not have"
        if known.texts.setdefault(tuple(tokens), text) != text:
            yield "two texts for the same tokens"
        if draft is None or trace is None:
            continue
        shown = draft["tokens"]
        yield from _of_trace(shown, trace, known)
        if "sampling" not in request and known.drafts:
            yield from _of_answer(tokens, shown, trace, request["maxNewTokens"])
            yield from _of_margin(tokens, shown, trace, margin)


def _of_answer(tokens: Sequence[int], draft: Sequence[int], trace: Mapping[str, Any], limit: int) -> Iterator[str]:
    """Yield contradictions: a greedy answer follows the draft while its tokens are the likeliest, then takes the
    likeliest.
    """
    for own, shown, best in zip(tokens, draft, trace["best"], strict=False):
        if own != best:
            yield "a greedy answer whose token is not the likeliest by the answer's own trace"
            return
        if own != shown:
            return
    if len(tokens) < min(len(draft), limit):
        yield "an answer that stops where its trace goes on"


def _of_margin(
    tokens: Sequence[int], draft: Sequence[int], trace: Mapping[str, Any], margin: float | None
) -> Iterator[str]:
    """Yield a contradiction where the least lead of an answer's tokens exceeds the lead of one of them in its trace."""
    if margin is None:
        return
    for at, (own, shown) in enumerate(zip(tokens, draft, strict=False)):
        likely = _position(draft, trace, at)
        others = [value for token, value in likely.items() if token != own and value > LEAST_LOG]
        if own in likely and others and margin > likely[own] - max(others) + SLACK:
            yield "an answer that leads by more than its own trace says"
            return
        if own != shown:
            return


def _of_traces(request: Mapping[str, Any], reply: Mapping[str, Any], known: Known) -> Iterator[str]:
    for item, trace in zip(request["items"], reply["traces"], strict=False):
        yield from _of_trace(item["continuation"], trace, known)


def repeated(request: Mapping[str, Any], reply: Mapping[str, Any], known: Known) -> str | None:
    """Return a contradiction where a repeated question got another answer; for answers at one strength of the
    adapter.
    """
    margins = reply.get("margins")
    if request["op"] != "generate" or "sampling" in request or request.get("precise") or margins is None:
        return None
    for prompt, tokens, margin in zip(request["prompts"], reply["tokens"], margins, strict=False):
        key = canonical_digest([prompt, request["maxNewTokens"]])
        before, led = known.answers.setdefault(key, (tuple(tokens), margin))
        if before != tuple(tokens) and min(margin, led) > NEAR_TIE[known.half]:
            return "two answers to the same question"
    return None


def _of_trace(tokens: Sequence[int], trace: Mapping[str, Any], known: Known) -> Iterator[str]:
    for at in range(len(tokens)):
        yield from _of_position(tokens, trace, at, known)


def _position(tokens: Sequence[int], trace: Mapping[str, Any], at: int) -> dict[int, float]:
    """Return log-probabilities of all tokens that a trace names at one position."""
    likely = dict(zip(trace["ids"][at], trace["logProbabilities"][at], strict=False))
    return likely | {tokens[at]: trace["chosen"][at]}


def _of_position(tokens: Sequence[int], trace: Mapping[str, Any], at: int, known: Known) -> Iterator[str]:
    likely, best = _position(tokens, trace, at), trace["best"][at]
    said = dict(zip(trace["ids"][at], trace["logProbabilities"][at], strict=False)).get(tokens[at])
    if said is not None and abs(max(said, LEAST_LOG) - max(trace["chosen"][at], LEAST_LOG)) > SLACK:
        yield "two probabilities for the same token at the same place"
    if best >= known.vocabulary:
        yield "a likeliest token that the base does not have"
    values = sorted(likely.values(), reverse=True)
    mass = math.fsum(math.exp(min(value, 1.0)) for value in values)
    rest = max(0.0, 1.0 - mass)
    if mass > 1.0 + SLACK:
        yield "probabilities at one place that add up to more than 1"
    top = likely.get(best)
    if values and (values[0] > top + SLACK if top is not None else math.exp(min(values[0], 0.0)) > rest + SLACK):
        yield "a likeliest token that is less likely than another"
    least, most = _entropy_bounds(values, top, rest, known.vocabulary)
    if not least - ENTROPY_SLACK <= trace["entropy"][at] <= most + ENTROPY_SLACK:
        yield "an entropy that its probabilities cannot have"


def _entropy_bounds(values: Sequence[float], top: float | None, rest: float, vocabulary: int) -> tuple[float, float]:
    """Return the least and the most entropy, in nats, of a distribution with these log-probabilities and `rest` for all
    other tokens.

    It is least where the rest lies on as few tokens as possible, none likelier than the likeliest, and most where it is
    even.
    """
    named = -math.fsum(math.exp(value) * value for value in values if value > LEAST_LOG)
    if rest <= 0.0:
        return named, named + SLACK * math.log(vocabulary)
    others = max(1, vocabulary - len(values))
    each = min(rest, 1.0 if top is None else math.exp(min(top, 0.0)))
    even = rest * (math.log(others) - math.log(rest))
    return named - rest * math.log(max(each, 1e-300)), named + even + SLACK * math.log(vocabulary)


def _of_choices(request: Mapping[str, Any], reply: Mapping[str, Any], known: Known) -> Iterator[str]:
    for item, scores in zip(request["items"], reply["logLikelihoods"], strict=False):
        likely = dict(zip(item["choices"], scores, strict=False))
        apart = [a for a in likely if not any(a != b and (a.startswith(b) or b.startswith(a)) for b in likely)]
        mass = math.fsum(math.exp(min(likely[choice], 1.0)) for choice in apart)
        if mass > math.exp(SHARE_SLACK[known.half]):
            yield "choices whose probabilities add up to more than 1"


def _of_scores(request: Mapping[str, Any], reply: Mapping[str, Any], known: Known) -> Iterator[str]:
    for item, score, count in zip(request["items"], reply["logLikelihoods"], reply["counts"], strict=False):
        if score > SHARE_SLACK[known.half]:
            yield "a text that is likelier than certain"
        if not isinstance(item["continuation"], str) and len(item["continuation"]) != count:
            yield "a score of other tokens than were asked about"


def _of_scale(request: Mapping[str, Any], reply: Mapping[str, Any], known: Known) -> Iterator[str]:  # noqa: ARG001
    expected = known.strength.modules
    if expected is not None and reply["modules"] != expected:
        yield f"{reply['modules']} modules scaled where the adapter's own tensors are of {expected}"


_CHECKS = {
    "generate": _of_generate,
    "trace": _of_traces,
    "choices": _of_choices,
    "score": _of_scores,
    "scale": _of_scale,
}
