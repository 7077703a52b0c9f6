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
from peft_assay.core.wire import ChoicesReply, ClassifyReply, GenerateReply, ScoreReply, Trace
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
    """Margin in nats below which an answer is asked again precisely where it counts for the adapter; 0 for none."""
    favourable: Callable[[Case, Given], bool]
    """Whether an answer counts for the adapter, as far as a precise one could say otherwise."""
    of_base: bool
    """Whether it is told how a close text certainly begins: an adapter's failures stand, however close they were."""

    def __call__(self, cases: Sequence[Case]) -> list[Given]:
        """What the model gives for each of `cases`, in the dtype that the base was loaded in."""
        return _ROUNDS[self.suite.measure](self, cases)

    def settled(self, cases: Sequence[Case], given: Sequence[Given]) -> list[Given]:
        """`given`, with the precise answer wherever the other was close to call and counts for the adapter."""
        again = [at for at, (case, one) in enumerate(zip(cases, given, strict=True)) if self._open(case, one)]
        exact = precisely(self.ask, self.suite, [cases[at] for at in again], [given[at] for at in again])
        settled = list(given)
        for at, one in zip(again, exact or (), strict=exact is not None):
            settled[at] = replace(one, path=given[at].path, precise=True)
        return settled

    def _open(self, case: Case, given: Given) -> bool:
        return not given.precise and margin_of(given) < self.close and self.favourable(case, given)


def _choices(ask: Ask, suite: Suite, cases: Sequence[Case], how: Mapping[str, Any]) -> list[Given]:
    items = [{"prompt": suite.ask_form(case), "choices": list(case.choices)} for case in cases]
    reply = expect(ChoicesReply, ask({"op": "choices", "items": items, **how}))
    expect_length(reply.logLikelihoods, len(cases))
    answers = []
    for case, scores in zip(cases, reply.logLikelihoods, strict=True):
        expect_length(scores, len(case.choices))
        answers.append(Given(case.choices[scores.index(max(scores))], scores=tuple(scores)))
    return answers


def _ask_choices(asking: Asking, cases: Sequence[Case]) -> list[Given]:
    return _choices(asking.ask, asking.suite, cases, {})


def _ask_texts(asking: Asking, cases: Sequence[Case]) -> list[Given]:
    suite = asking.suite
    prompts = [suite.ask_form(case) for case in cases]
    drafts = [draft_of(asking.drafts.get(case.id)) for case in cases] if asking.drafts else None
    top = None if asking.drafts else WATCHED
    by = asking.close if asking.of_base and asking.close > 0 else None
    about = {"drafts": drafts, "top": top, "margins": True, "certainBy": by}
    reply = generate(asking.ask, prompts, suite.max_new_tokens, **about)
    traces: Sequence[Trace | None] = reply.traces or ()
    margins: Sequence[float | None] = reply.margins or [None] * len(cases)
    certain = reply.certain or [""] * len(cases)
    for told in (traces, margins, certain):
        expect_length(told, len(cases))
    return [
        Given(text, tuple(tokens), path=None if trace is None else path_of(trace), margin=margin, certain=begins)
        for text, tokens, trace, margin, begins in zip(reply.texts, reply.tokens, traces, margins, certain, strict=True)
    ]


def _ask_likelihoods(asking: Asking, cases: Sequence[Case]) -> list[Given]:
    items = [{"prompt": asking.suite.ask_form(case), "continuation": case.expected} for case in cases]
    reply = expect(ScoreReply, asking.ask({"op": "score", "items": items}))
    expect_length(reply.logLikelihoods, len(cases))
    expect_length(reply.counts, len(cases))
    pairs = zip(reply.logLikelihoods, reply.counts, strict=True)
    return [Given("", scores=(score, float(count))) for score, count in pairs]


def _ask_labels(asking: Asking, cases: Sequence[Case]) -> list[Given]:
    labels = asking.suite.scorer.labels
    prompts = [asking.suite.ask_form(case) for case in cases]
    reply = expect(ClassifyReply, asking.ask({"op": "classify", "prompts": prompts}))
    expect_length(reply.logits, len(cases))
    answers = []
    for logits in reply.logits:
        expect_length(logits, len(labels))
        answers.append(Given(labels[logits.index(max(logits))], scores=tuple(logits)))
    return answers


_ROUNDS: Mapping[Measure, Callable[[Asking, Sequence[Case]], list[Given]]] = {
    Measure.CHOICE: _ask_choices,
    Measure.GENERATE: _ask_texts,
    Measure.LIKELIHOOD: _ask_likelihoods,
    Measure.CLASSIFY: _ask_labels,
}


def precisely(ask: Ask, suite: Suite, cases: Sequence[Case], given: Sequence[Given]) -> list[Given] | None:
    """What the reference, which is float32, gives for `cases`; None for measures whose answers are numbers.

    A text is shown what was `given` before as a draft, which changes no answer: where float32 agrees, one pass says so.
    """
    if not cases:
        return []
    if suite.measure is Measure.CHOICE:
        return _choices(ask, suite, cases, {"precise": True})
    if suite.measure is not Measure.GENERATE:
        return None
    drafts = [{"tokens": list(one.tokens), "watch": [[]] * len(one.tokens)} for one in given]
    prompts = [suite.ask_form(case) for case in cases]
    reply = generate(ask, prompts, suite.max_new_tokens, drafts=drafts, precise=True)
    return [Given(text, tuple(tokens)) for text, tokens in zip(reply.texts, reply.tokens, strict=True)]


def draft_of(base: Answer | None) -> dict[str, Any] | None:
    """The base's answer as the dtype observed gave it, whatever the reference said to it afterwards."""
    if base is None or base.path is None:
        return None
    return {"tokens": list(base.path.best), "watch": [list(ids) for ids in base.path.watched]}


def generate(ask: Ask, prompts: Sequence[Any], max_new_tokens: int, **further: Any) -> GenerateReply:
    """Texts for `prompts` (as `ask_form` gives them), as many as were asked for.

    `further` fields of the question (`core.wire.GenerateReply`): `drafts`, `top`, `margins`, `certainBy`, `sampling`,
    `precise`; one that is None or False is not asked.
    """
    question: dict[str, Any] = {"op": "generate", "prompts": list(prompts), "maxNewTokens": max_new_tokens}
    question.update({name: value for name, value in further.items() if value not in (None, False)})
    reply = expect(GenerateReply, ask(question))
    expect_length(reply.texts, len(prompts))
    expect_length(reply.tokens, len(prompts))
    return reply
