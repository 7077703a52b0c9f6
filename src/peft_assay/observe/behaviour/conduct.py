"""Conducting a suite: several rounds of questions, scored and stopped by the supervisor.

The child gets prompts (and the alternatives of a choice), never which answer is right, and never how many rounds are
still to come.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.sandbox import Ask
from peft_assay.core.suite import Case, Measure, Suite
from peft_assay.core.wire import ChoicesReply, GenerateReply
from peft_assay.observe.behaviour.replies import expect, expect_length
from peft_assay.observe.behaviour.score import choice_passes, text_scorer

ROUND = 40
"""Cases per question; between two rounds the supervisor may stop."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model gave for one case and whether it passed."""

    case: str
    passed: bool
    text: str
    """Generated text, or the choice it found most likely."""
    tokens: tuple[int, ...]
    """Generated token ids; empty for a choice."""


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


def conduct_suite(ask: Ask, suite: Suite) -> SuiteRecord:
    """Asks every case of `suite`, round by round, until its stopping rule says enough.

    Raises ChildGone (from `ask`) when the child can no longer answer, or answers out of shape.
    """
    answers: list[Answer] = []
    failures = 0
    cases = order_of(suite)
    for group in _rounds(cases):
        answers.extend(_ask_choices(ask, group) if suite.measure is Measure.CHOICE else _ask_texts(ask, suite, group))
        failures = sum(not answer.passed for answer in answers)
        if suite.stop_after_failures is not None and failures >= suite.stop_after_failures:
            break
    return SuiteRecord(suite.id, tuple(answers), len(answers) == len(cases))


def _rounds(cases: Sequence[Case]) -> Iterator[Sequence[Case]]:
    for start in range(0, len(cases), ROUND):
        yield cases[start : start + ROUND]


def _ask_choices(ask: Ask, cases: Sequence[Case]) -> list[Answer]:
    items = [{"prompt": case.prompt, "choices": list(case.choices)} for case in cases]
    reply = expect(ChoicesReply, ask({"op": "choices", "items": items}))
    expect_length(reply.logLikelihoods, len(cases))
    answers = []
    for case, scores in zip(cases, reply.logLikelihoods, strict=True):
        expect_length(scores, len(case.choices))
        likeliest = case.choices[scores.index(max(scores))]
        answers.append(Answer(case.id, choice_passes(case, scores), likeliest, ()))
    return answers


def _ask_texts(ask: Ask, suite: Suite, cases: Sequence[Case]) -> list[Answer]:
    passes = text_scorer(suite)
    prompts = [case.prompt for case in cases]
    reply = generate(ask, prompts, suite.max_new_tokens)
    return [
        Answer(case.id, passes(case, text), text, tuple(tokens))
        for case, text, tokens in zip(cases, reply.texts, reply.tokens, strict=True)
    ]


def generate(ask: Ask, prompts: Sequence[str], max_new_tokens: int) -> GenerateReply:
    """Greedy texts for `prompts`, as many as were asked for."""
    question = {"op": "generate", "prompts": list(prompts), "maxNewTokens": max_new_tokens}
    reply = expect(GenerateReply, ask(question))
    expect_length(reply.texts, len(prompts))
    expect_length(reply.tokens, len(prompts))
    return reply
