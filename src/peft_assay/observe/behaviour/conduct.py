"""Conducting a suite: several rounds of questions, scored and stopped by the supervisor.

The child gets prompts (and the alternatives of a choice), never which answer is right, and never how many rounds are
still to come. What the base answered is shown to the adapter as a draft: one pass tells where it departs from it, and
how far its distribution is from the base's on the way.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.sandbox import Ask
from peft_assay.core.suite import Case, Measure, Suite
from peft_assay.core.wire import ChoicesReply, GenerateReply, Trace, TraceReply
from peft_assay.observe.behaviour.replies import expect, expect_length
from peft_assay.observe.behaviour.score import choice_passes, text_scorer

ROUND = 40
"""Cases per question; between two rounds the supervisor may stop."""
WATCHED = 8
"""Tokens of the base's distribution, likeliest first, whose probability is compared at each position of its answer."""


@dataclass(frozen=True, slots=True)
class Path:
    """How a model saw the base's answer to a case, position by position."""

    best: tuple[int, ...]
    """Its own likeliest token at each position."""
    chosen: tuple[float, ...]
    """Log-probability of the base's token."""
    entropy: tuple[float, ...]
    """Of its distribution there, in nats."""
    watched: tuple[tuple[int, ...], ...]
    """The base's likeliest tokens there."""
    log_probabilities: tuple[tuple[float, ...], ...]
    """Its log-probability of each of those."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model gave for one case and whether it passed."""

    case: str
    passed: bool
    text: str
    """Generated text, or the choice it found most likely."""
    tokens: tuple[int, ...] = ()
    """Generated token ids; empty for a choice."""
    scores: tuple[float, ...] = ()
    """Log-likelihoods of the choices; empty for generated text."""
    path: Path | None = None
    """Along the base's answer, where that was asked."""


@dataclass(frozen=True, slots=True)
class SuiteRecord:
    """All answers to one suite, in the order asked; shorter than the suite when it was stopped."""

    suite: str
    answers: tuple[Answer, ...]
    complete: bool

    @property
    def passes(self) -> int:
        """Cases passed; cases that were never asked are not among them."""
        return sum(answer.passed for answer in self.answers)

    def by_case(self) -> dict[str, Answer]:
        """Answers by case id."""
        return {answer.case: answer for answer in self.answers}


def order_of(suite: Suite) -> tuple[Case, ...]:
    """The cases in an order that derives from digests alone: independent of the adapter, the same in every run.

    A stopping rule needs an order that an adapter's author cannot choose and that carries no trend.
    """
    return tuple(sorted(suite.cases, key=lambda case: canonical_digest([suite.digest, case.id])))


def conduct_suite(ask: Ask, suite: Suite, base: SuiteRecord | None = None) -> SuiteRecord:
    """Asks every case of `suite`, round by round, until its stopping rule says enough.

    `base` is what the base alone answered; None while the base itself is asked. Raises ChildGone (from `ask`) when the
    child can no longer answer, or answers out of shape.
    """
    answers: list[Answer] = []
    failures = 0
    cases = order_of(suite)
    drafts = {} if base is None else base.by_case()
    ask_round = _ROUNDS[suite.measure]
    for group in _rounds(cases):
        answers.extend(ask_round(ask, suite, group, drafts))
        failures = sum(not answer.passed for answer in answers)
        if suite.stop_after_failures is not None and failures >= suite.stop_after_failures:
            break
    return SuiteRecord(suite.id, tuple(answers), len(answers) == len(cases))


def _rounds(cases: Sequence[Case]) -> Iterator[Sequence[Case]]:
    for start in range(0, len(cases), ROUND):
        yield cases[start : start + ROUND]


def _ask_choices(ask: Ask, suite: Suite, cases: Sequence[Case], _drafts: Mapping[str, Answer]) -> list[Answer]:
    items = [{"prompt": suite.ask_form(case), "choices": list(case.choices)} for case in cases]
    reply = expect(ChoicesReply, ask({"op": "choices", "items": items}))
    expect_length(reply.logLikelihoods, len(cases))
    answers = []
    for case, scores in zip(cases, reply.logLikelihoods, strict=True):
        expect_length(scores, len(case.choices))
        likeliest = case.choices[scores.index(max(scores))]
        answers.append(Answer(case.id, choice_passes(case, scores), likeliest, scores=tuple(scores)))
    return answers


def _ask_texts(ask: Ask, suite: Suite, cases: Sequence[Case], drafts: Mapping[str, Answer]) -> list[Answer]:
    passes = text_scorer(suite)
    prompts = [suite.ask_form(case) for case in cases]
    if drafts:
        shown = [_draft(drafts.get(case.id)) for case in cases]
        reply = generate(ask, prompts, suite.max_new_tokens, drafts=shown)
        traces: Sequence[Trace | None] = reply.traces or ()
        expect_length(traces, len(cases))
    else:
        reply = generate(ask, prompts, suite.max_new_tokens)
        traces = _base_traces(ask, prompts, reply.tokens)
    return [
        Answer(case.id, passes(case, text), text, tuple(tokens), path=None if trace is None else path_of(trace))
        for case, text, tokens, trace in zip(cases, reply.texts, reply.tokens, traces, strict=True)
    ]


_AskRound = Callable[[Ask, Suite, Sequence[Case], Mapping[str, Answer]], list[Answer]]
_ROUNDS: Mapping[Measure, _AskRound] = {Measure.CHOICE: _ask_choices, Measure.GENERATE: _ask_texts}


def _draft(base: Answer | None) -> dict[str, Any] | None:
    if base is None or base.path is None:
        return None
    return {"tokens": list(base.tokens), "watch": [list(ids) for ids in base.path.watched]}


def _base_traces(ask: Ask, prompts: Sequence[Any], answers: Sequence[Sequence[int]]) -> list[Trace]:
    items = [{"prompt": p, "continuation": list(tokens)} for p, tokens in zip(prompts, answers, strict=True)]
    reply = expect(TraceReply, ask({"op": "trace", "items": items, "top": WATCHED}))
    expect_length(reply.traces, len(prompts))
    return reply.traces


def path_of(trace: Trace) -> Path:
    """A trace as it is kept."""
    return Path(
        tuple(trace.best),
        tuple(trace.chosen),
        tuple(trace.entropy),
        tuple(map(tuple, trace.ids)),
        tuple(map(tuple, trace.logProbabilities)),
    )


def generate(
    ask: Ask,
    prompts: Sequence[Any],
    max_new_tokens: int,
    *,
    drafts: Sequence[Mapping[str, Any] | None] | None = None,
    sampling: Mapping[str, Any] | None = None,
) -> GenerateReply:
    """Texts for `prompts` (as `ask_form` gives them), as many as were asked for; greedy unless `sampling` is given."""
    question: dict[str, Any] = {"op": "generate", "prompts": list(prompts), "maxNewTokens": max_new_tokens}
    if drafts is not None:
        question["drafts"] = list(drafts)
    if sampling is not None:
        question["sampling"] = dict(sampling)
    reply = expect(GenerateReply, ask(question))
    expect_length(reply.texts, len(prompts))
    expect_length(reply.tokens, len(prompts))
    return reply
