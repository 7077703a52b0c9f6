"""Conducting a suite: several rounds of questions, scored and stopped by the supervisor.

The child gets prompts (and the alternatives of a choice), never which answer is right, and never how many rounds are
still to come. What the base answered is shown to the adapter as a draft: one pass tells where it departs from it, and
how far its distribution is from the base's on the way.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest
from peft_assay.core.judge import JudgeFailed
from peft_assay.core.sandbox import Ask
from peft_assay.core.suite import Case, Measure, Suite
from peft_assay.core.wire import ChoicesReply, ClassifyReply, GenerateReply, ScoreReply, Trace, TraceReply
from peft_assay.observe.behaviour.replies import expect, expect_length
from peft_assay.observe.behaviour.scorers.catalogue import text_scorer
from peft_assay.observe.behaviour.scorers.numbers import choice_passes, label_passes, perplexity_passes

ROUND = 40
"""Cases per question; between two rounds the supervisor may stop."""
WATCHED = 8
"""Tokens of the base's distribution, likeliest first, whose probability is compared at each position of its answer."""

DIGITS = 5
"""Decimals of kept log-probabilities and entropies."""
PUBLIC = "public"
"""The confidentiality of suites whose answers may be kept as they are."""


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
class Given:
    """What the model gave for one case, not yet scored."""

    text: str
    """Generated text, or the choice or label it found most likely; empty for a likelihood."""
    tokens: tuple[int, ...] = ()
    """Generated token ids; empty for the other measures."""
    scores: tuple[float, ...] = ()
    """Log-likelihoods of the choices; logits of the labels; log-likelihood and token count of the expected text."""
    path: Path | None = None
    """Along the base's answer, where that was asked."""
    precise: bool = False
    """It was close to call, and asked again in float32, alone."""


@dataclass(frozen=True, slots=True)
class Answer(Given):
    """What the model gave for one case, and whether it passed."""

    case: str = ""
    passed: bool = False


@dataclass(frozen=True, slots=True)
class SuiteRecord:
    """All answers to one suite, in the order asked; shorter than the suite when it was stopped."""

    suite: str
    answers: tuple[Answer, ...]
    complete: bool
    unjudged: str | None = None
    """Why the suite's judge gave no reply; nothing follows from the answers before that."""

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


CLOSE = 0.5
"""Margin in nats below which an answer in half precision is asked again: twice what a log-likelihood was seen to move
with the batch in bfloat16 (0.27, docs/performance.md)."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Answers of one model under one set of conditions, by `key_of`."""

    kept: Mapping[Digest, Given] = field(default_factory=dict)
    """From earlier conversations: not asked again."""
    fresh: dict[Digest, Given] = field(default_factory=dict)
    """From this one; filled while suites are conducted."""


def conduct_suite(
    ask: Ask, suite: Suite, base: SuiteRecord | None = None, memory: Memory | None = None, *, close: float = 0.0
) -> SuiteRecord:
    """Asks every case of `suite`, round by round, until its stopping rule says enough.

    `base` is what the base alone answered; None while the base itself is asked. Answers closer to call than `close`
    (nats) are asked again precisely. Raises ChildGone (from `ask`) when the
    child can no longer answer, or answers out of shape.
    """
    answers: list[Answer] = []
    failures = 0
    cases = order_of(suite)
    drafts = {} if base is None else base.by_case()
    passes = scorer_of(suite)
    remembered = memory or Memory()
    for group in _rounds(cases):
        given = _given(_Asking(ask, suite, drafts, close), group, remembered)
        try:
            answers.extend(_scored(passes, case, one) for case, one in zip(group, given, strict=True))
        except JudgeFailed as failure:
            return SuiteRecord(suite.id, tuple(answers), complete=False, unjudged=str(failure))
        failures = sum(not answer.passed for answer in answers)
        if suite.stop_after_failures is not None and failures >= suite.stop_after_failures:
            break
    return SuiteRecord(suite.id, tuple(answers), len(answers) == len(cases))


def _scored(passes: Callable[[Case, Given], bool], case: Case, given: Given) -> Answer:
    passed = passes(case, given)
    return Answer(given.text, given.tokens, given.scores, given.path, given.precise, case=case.id, passed=passed)


def key_of(suite: Suite, case: Case, draft: Answer | None) -> Digest:
    """By what a model's answer to a case is found again: all of the question, and nothing of how it is scored."""
    shown = _draft(draft)
    return canonical_digest(
        {
            "measure": suite.measure.value,
            "prompt": suite.ask_form(case),
            "choices": list(case.choices),
            "continuation": case.expected if suite.measure is Measure.LIKELIHOOD else None,
            "maxNewTokens": suite.max_new_tokens,
            "draft": None if shown is None else canonical_digest(shown),
        }
    )


@dataclass(frozen=True, slots=True)
class _Asking:
    """How cases of one suite are asked."""

    ask: Ask
    suite: Suite
    drafts: Mapping[str, Answer]
    close: float

    def __call__(self, cases: Sequence[Case]) -> list[Given]:
        """What the model gives for each of `cases`; precisely for those that were close to call."""
        given = _ROUNDS[self.suite.measure](self.ask, self.suite, cases, self.drafts)
        again = [at for at, one in enumerate(given) if margin_of(one) < self.close]
        exact = precisely(self.ask, self.suite, [cases[at] for at in again]) if again else None
        if exact is not None:
            for at, one in zip(again, exact, strict=True):
                given[at] = replace(one, path=given[at].path, precise=True)
        return given


def margin_of(given: Given) -> float:
    """By how many nats the answer won, as far as is known; infinite where nothing could have won instead.

    For a choice, over the second likeliest. For a text, the least along the base's answer, up to where it departs: over
    the other watched tokens; what follows a departure is not watched.
    """
    if given.path is None:
        best, *others = sorted(given.scores, reverse=True) if len(given.scores) > 1 else (math.inf,)
        return best - others[0] if others else math.inf
    least, path = math.inf, given.path
    steps = zip(given.tokens, path.best, path.watched, path.log_probabilities, strict=False)
    for own, best, watched, scores in steps:
        known = dict(zip(watched, scores, strict=True))
        others = [score for token, score in known.items() if token != best]
        if best in known and others:
            least = min(least, known[best] - max(others))
        if own != best:
            break
    return least


def _given(asking: _Asking, cases: Sequence[Case], memory: Memory) -> list[Given]:
    """For each case what the model gave: before, where that was kept, else now."""
    suite = asking.suite
    keys = [key_of(suite, case, asking.drafts.get(case.id)) for case in cases]
    missing = [case for case, key in zip(cases, keys, strict=True) if key not in memory.kept]
    now = iter(asking(missing) if missing else ())
    found = [memory.kept[key] if key in memory.kept else next(now) for key in keys]
    if suite.confidentiality == PUBLIC:
        memory.fresh.update({key: given for key, given in zip(keys, found, strict=True) if key not in memory.kept})
    return found


def _rounds(cases: Sequence[Case]) -> Iterator[Sequence[Case]]:
    for start in range(0, len(cases), ROUND):
        yield cases[start : start + ROUND]


def _ask_choices(ask: Ask, suite: Suite, cases: Sequence[Case], _drafts: Mapping[str, Answer]) -> list[Given]:
    return _choices(ask, suite, cases, {})


def _choices(ask: Ask, suite: Suite, cases: Sequence[Case], how: Mapping[str, Any]) -> list[Given]:
    items = [{"prompt": suite.ask_form(case), "choices": list(case.choices)} for case in cases]
    reply = expect(ChoicesReply, ask({"op": "choices", "items": items, **how}))
    expect_length(reply.logLikelihoods, len(cases))
    answers = []
    for case, scores in zip(cases, reply.logLikelihoods, strict=True):
        expect_length(scores, len(case.choices))
        answers.append(Given(case.choices[scores.index(max(scores))], scores=tuple(scores)))
    return answers


def _ask_texts(ask: Ask, suite: Suite, cases: Sequence[Case], drafts: Mapping[str, Answer]) -> list[Given]:
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
        Given(text, tuple(tokens), path=None if trace is None else path_of(trace))
        for text, tokens, trace in zip(reply.texts, reply.tokens, traces, strict=True)
    ]


def _ask_likelihoods(ask: Ask, suite: Suite, cases: Sequence[Case], _drafts: Mapping[str, Answer]) -> list[Given]:
    items = [{"prompt": suite.ask_form(case), "continuation": case.expected} for case in cases]
    reply = expect(ScoreReply, ask({"op": "score", "items": items}))
    expect_length(reply.logLikelihoods, len(cases))
    expect_length(reply.counts, len(cases))
    pairs = zip(reply.logLikelihoods, reply.counts, strict=True)
    return [Given("", scores=(score, float(count))) for score, count in pairs]


def _ask_labels(ask: Ask, suite: Suite, cases: Sequence[Case], _drafts: Mapping[str, Answer]) -> list[Given]:
    labels = suite.scorer.labels
    reply = expect(ClassifyReply, ask({"op": "classify", "prompts": [suite.ask_form(case) for case in cases]}))
    expect_length(reply.logits, len(cases))
    answers = []
    for logits in reply.logits:
        expect_length(logits, len(labels))
        answers.append(Given(labels[logits.index(max(logits))], scores=tuple(logits)))
    return answers


_AskRound = Callable[[Ask, Suite, Sequence[Case], Mapping[str, Answer]], list[Given]]
_ROUNDS: Mapping[Measure, _AskRound] = {
    Measure.CHOICE: _ask_choices,
    Measure.GENERATE: _ask_texts,
    Measure.LIKELIHOOD: _ask_likelihoods,
    Measure.CLASSIFY: _ask_labels,
}


def _choices_precisely(ask: Ask, suite: Suite, cases: Sequence[Case]) -> list[Given]:
    return _choices(ask, suite, cases, {"precise": True})


def _texts_precisely(ask: Ask, suite: Suite, cases: Sequence[Case]) -> list[Given]:
    reply = generate(ask, [suite.ask_form(case) for case in cases], suite.max_new_tokens, precise=True)
    return [Given(text, tuple(tokens)) for text, tokens in zip(reply.texts, reply.tokens, strict=True)]


_PRECISE: Mapping[Measure, Callable[[Ask, Suite, Sequence[Case]], list[Given]]] = {
    Measure.CHOICE: _choices_precisely,
    Measure.GENERATE: _texts_precisely,
}
"""Measures whose answers are one of several: the others are numbers, and as exact as the dtype."""


def precisely(ask: Ask, suite: Suite, cases: Sequence[Case]) -> list[Given] | None:
    """What the reference gives: float32, one case at a time; None for measures whose answers are numbers."""
    return _PRECISE[suite.measure](ask, suite, cases) if suite.measure in _PRECISE else None


def scorer_of(suite: Suite) -> Callable[[Case, Given], bool]:
    """How answers of `suite` are scored; the result raises JudgeFailed where the suite has a judge that fails."""
    scorer = suite.scorer
    match suite.measure:
        case Measure.CHOICE:
            return lambda case, given: choice_passes(case, given.scores)
        case Measure.LIKELIHOOD:
            return lambda _case, given: perplexity_passes(scorer, *given.scores)
        case Measure.CLASSIFY:
            return lambda case, given: label_passes(case, given.scores, scorer.labels)
    passes = text_scorer(suite)
    return lambda case, given: passes(case, given.text)


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
    """A trace as it is kept: rounded to what can matter, so that it is short as JSON."""
    return Path(
        tuple(trace.best),
        _rounded(trace.chosen),
        _rounded(trace.entropy),
        tuple(map(tuple, trace.ids)),
        tuple(map(_rounded, trace.logProbabilities)),
    )


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, DIGITS) for value in values)


def generate(
    ask: Ask,
    prompts: Sequence[Any],
    max_new_tokens: int,
    *,
    drafts: Sequence[Mapping[str, Any] | None] | None = None,
    sampling: Mapping[str, Any] | None = None,
    precise: bool = False,
) -> GenerateReply:
    """Texts for `prompts` (as `ask_form` gives them), as many as were asked for; greedy unless `sampling` is given.

    `precise` asks for float32 arithmetic, whatever dtype the base was loaded in.
    """
    question: dict[str, Any] = {"op": "generate", "prompts": list(prompts), "maxNewTokens": max_new_tokens}
    if drafts is not None:
        question["drafts"] = list(drafts)
    if sampling is not None:
        question["sampling"] = dict(sampling)
    if precise:
        question["precise"] = True
    reply = expect(GenerateReply, ask(question))
    expect_length(reply.texts, len(prompts))
    expect_length(reply.tokens, len(prompts))
    return reply
