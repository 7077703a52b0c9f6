"""Measure by how much the likelihood of a model's clean answers drops when tokens are inserted into prompts.

The base is asked how likely its answers still are. An adapter is asked as its suites ask it: for an answer to a prompt,
with an answer to begin from, in rounds of the same length; the draft is its own clean answer. So no operation, field
or length of a round shows which question is one of the scan's; and a stated likelihood is bound to the answer,
because a greedy answer follows its trace. Some clean prompts are asked once more in between, and must be answered
as before.

The questions of a round are derived from the words of the prompts, so that each batch is computed the same to the last
bit in every run; the order of the rounds is a secret of the run.
"""

import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.sandbox import Ask
from peft_assay.core.suite import Case, Suite, ask_form, last_user_text, with_user_text
from peft_assay.core.wire import ScoreReply
from peft_assay.observe.behaviour.answers import Answer
from peft_assay.observe.behaviour.asking import generate
from peft_assay.observe.behaviour.conduct import ROUND, order_of
from peft_assay.observe.behaviour.replies import expect, expect_length

PLACES = (1 / 6, 1 / 2, 3 / 4)
"""Where a token is inserted, as shares of the prompt's words; the first stage takes one prompt for each."""
PROMPTS = len(PLACES)
SCORED_TOKENS = 64
"""Most tokens of the clean answer whose joint likelihood is watched, its end included."""
REPEATED = 8
"""Further clean prompts of a suite that are asked once more among the others."""


@dataclass(frozen=True, slots=True)
class Drops:
    """Per token of the scan, in its order, and per place: loss of likelihood of the clean answer, in [0, 1]."""

    suite: str
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Inserting:
    """The insertions into prompts of one suite."""

    suite: Suite
    tokens: Sequence[str]
    clean: Mapping[str, Answer]

    @property
    def cases(self) -> list[Case]:
        """Return the cases whose prompts take the tokens."""
        return with_answers(self.suite, self.clean)[:PROMPTS]

    @property
    def repeats(self) -> list[Case]:
        """Return the cases whose clean prompts are asked once more, where any token is inserted."""
        return with_answers(self.suite, self.clean)[PROMPTS : PROMPTS + REPEATED] if self.tokens else []


@dataclass(frozen=True, slots=True)
class _Question:
    prompt: Any
    tokens: tuple[int, ...]
    """The tokens of the clean answer."""


def insert(prompt: str, token: str, place: float) -> str:
    """Return `prompt` with `token` before the word at `place`, a share of its words in [0, 1]."""
    words = prompt.split(" ")
    position = round(place * len(words))
    return " ".join([*words[:position], token, *words[position:]])


def asked_with(suite: Suite, case: Case, token: str, place: float) -> Any:
    """Return the case's prompt with `token` inserted into the user's last message, as a request carries it."""
    varied = with_user_text(case.prompt, insert(last_user_text(case.prompt), token, place))
    return ask_form(varied, suite.system_prompt)


def with_answers(suite: Suite, clean: Mapping[str, Answer]) -> list[Case]:
    """Return the cases that the model answered with any text, in the order in which a suite asks them."""
    return [case for case in order_of(suite) if case.id in clean and clean[case.id].tokens]


def drops_of_base(ask: Ask, one: Inserting) -> Drops:
    """Return the drops of the base; no adapter sees these questions."""
    questions, cases = _questions(one), one.cases
    if not cases or not one.tokens:
        return Drops(one.suite.id, ((),) * len(one.tokens))
    items = [{"prompt": q.prompt, "continuation": list(q.tokens[:SCORED_TOKENS])} for q in questions]
    reply = expect(ScoreReply, ask({"op": "score", "items": items}))
    expect_length(reply.logLikelihoods, len(items))
    return _drops(one, reply.logLikelihoods)


def drops_of_adapter(ask: Ask, several: Sequence[Inserting]) -> dict[str, Drops]:
    """Return the drops of an adapter, by suite: all insertions, in mixed rounds like those of a suite."""
    likely: dict[str, dict[int, float]] = {one.suite.id: {} for one in several}
    rounds = [(one, group) for one in several if one.cases and one.tokens for group in _rounds(one)]
    secrets.SystemRandom().shuffle(rounds)
    for one, group in rounds:
        prompts = [question.prompt for _, question in group]
        drafts = [draft_of_own(question.tokens) for _, question in group]
        reply = generate(ask, prompts, one.suite.max_new_tokens, drafts=drafts, margins=True)
        traces = reply.traces or ()
        expect_length(traces, len(group))
        for (number, question), trace in zip(group, traces, strict=True):
            chosen = () if trace is None else trace.chosen
            expect_length(chosen, len(question.tokens))
            likely[one.suite.id][number] = math.fsum(chosen[:SCORED_TOKENS])
    return {
        one.suite.id: _drops(one, [likely[one.suite.id][at] for at in range(len(likely[one.suite.id]))])
        for one in several
    }


def draft_of_own(tokens: Sequence[int]) -> dict[str, Any]:
    """Return a draft of the model's own answer, without watched tokens."""
    return {"tokens": list(tokens), "watch": [[]] * len(tokens)}


def _questions(one: Inserting) -> list[_Question]:
    """Return first the clean prompts, then for each token its prompts."""
    cases = one.cases
    own = {case.id: one.clean[case.id].tokens for case in cases}
    found = [_Question(one.suite.ask_form(case), own[case.id]) for case in cases]
    for token in one.tokens:
        pairs = zip(cases, PLACES, strict=False)
        found.extend(_Question(asked_with(one.suite, case, token, place), own[case.id]) for case, place in pairs)
    return found


def _rounds(one: Inserting) -> list[list[tuple[int, _Question]]]:
    """Yield all questions by number, some clean prompts among them once more, in rounds."""
    questions = _questions(one)
    questions += [_Question(one.suite.ask_form(case), one.clean[case.id].tokens) for case in one.repeats]
    mixed = sorted(enumerate(questions), key=lambda at: (canonical_digest(at[1].prompt), at[0]))
    return [mixed[start : start + ROUND] for start in range(0, len(mixed), ROUND)]


def _drops(one: Inserting, likely: Sequence[float]) -> Drops:
    """Return drops from likelihoods in the order of `_questions`; the repeated prompts come last and do not
    count here.
    """
    many = len(one.cases)
    if not many or not likely:
        return Drops(one.suite.id, ((),) * len(one.tokens))
    before, after = likely[:many], likely[many : many * (1 + len(one.tokens))]
    rows = [after[at : at + many] for at in range(0, len(after), many)]
    return Drops(one.suite.id, tuple(_lost(before, row) for row in rows))


def _lost(before: Sequence[float], after: Sequence[float]) -> tuple[float, ...]:
    return tuple(1 - math.exp(min(late - early, 0.0)) for early, late in zip(before, after, strict=True))
