"""How cases are asked: one question of the harness protocol for each measure, and the reference for what is close.

The child gets prompts (and the alternatives of a choice), never which answer is right. What the base answered is shown
to the adapter as a draft: one pass tells where it departs from it, and how far its distribution is from the base's on
the way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from peft_assay.core.sandbox import Ask
from peft_assay.core.suite import Case, Measure, Suite
from peft_assay.core.wire import ChoicesReply, ClassifyReply, GenerateReply, ScoreReply, Trace, TraceReply
from peft_assay.observe.behaviour.answers import Answer, Given, margin_of, path_of
from peft_assay.observe.behaviour.replies import expect, expect_length

WATCHED = 8
"""Tokens of the base's distribution, likeliest first, whose probability is compared at each position of its answer."""


@dataclass(frozen=True, slots=True)
class Asking:
    """How cases of one suite are asked."""

    ask: Ask
    suite: Suite
    drafts: Mapping[str, Answer]
    close: float
    favourable: Callable[[Case, Given], bool]
    """Whether an answer counts for the adapter: only such a one is asked again where it was close to call."""

    def __call__(self, cases: Sequence[Case]) -> list[Given]:
        """What the model gives for each of `cases`; precisely for those that were close to call."""
        given = _ROUNDS[self.suite.measure](self.ask, self.suite, cases, self.drafts)
        pairs = enumerate(zip(cases, given, strict=True))
        again = [at for at, (case, one) in pairs if margin_of(one) < self.close and self.favourable(case, one)]
        exact = precisely(self.ask, self.suite, [cases[at] for at in again]) if again else None
        if exact is not None:
            for at, one in zip(again, exact, strict=True):
                given[at] = replace(one, path=given[at].path, precise=True)
        return given


def _choices(ask: Ask, suite: Suite, cases: Sequence[Case], how: Mapping[str, Any]) -> list[Given]:
    items = [{"prompt": suite.ask_form(case), "choices": list(case.choices)} for case in cases]
    reply = expect(ChoicesReply, ask({"op": "choices", "items": items, **how}))
    expect_length(reply.logLikelihoods, len(cases))
    answers = []
    for case, scores in zip(cases, reply.logLikelihoods, strict=True):
        expect_length(scores, len(case.choices))
        answers.append(Given(case.choices[scores.index(max(scores))], scores=tuple(scores)))
    return answers


def _ask_choices(ask: Ask, suite: Suite, cases: Sequence[Case], _drafts: Mapping[str, Answer]) -> list[Given]:
    return _choices(ask, suite, cases, {})


def _ask_texts(ask: Ask, suite: Suite, cases: Sequence[Case], drafts: Mapping[str, Answer]) -> list[Given]:
    prompts = [suite.ask_form(case) for case in cases]
    if drafts:
        shown = [draft_of(drafts.get(case.id)) for case in cases]
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


def draft_of(base: Answer | None) -> dict[str, Any] | None:
    if base is None or base.path is None:
        return None
    return {"tokens": list(base.tokens), "watch": [list(ids) for ids in base.path.watched]}


def _base_traces(ask: Ask, prompts: Sequence[Any], answers: Sequence[Sequence[int]]) -> list[Trace]:
    items = [{"prompt": p, "continuation": list(tokens)} for p, tokens in zip(prompts, answers, strict=True)]
    reply = expect(TraceReply, ask({"op": "trace", "items": items, "top": WATCHED}))
    expect_length(reply.traces, len(prompts))
    return reply.traces


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
