"""Null answers, as from a model that does nothing, put through the suites' own scorers.

Silence, one constant text, the prompt itself, a refusal, and an answer to another prompt: none of them needs a model.
If one of them passes all suites, the suites cannot tell an adapter from a model that does nothing. The suite on which a
null answer scores worst therefore decides.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from peft_assay.core.suite import Case, Measure, ScorerKind, Suite, ask_form, last_user_text
from peft_assay.observe.behaviour.answers import SuiteRecord
from peft_assay.observe.behaviour.conduct import order_of
from peft_assay.observe.behaviour.scorers.catalogue import text_scorer
from peft_assay.observe.behaviour.statistics import lower_bound
from peft_assay.observe.suites.controls import ARBITRARY, HAS_RIGHT_ANSWER, JSON_VALUES

SAMPLE = 400
"""Cases of each suite that null answers are tried on, the first in the order of digests."""
SILENT = ("", " ", "\n\n")
REPEATED = ("the " * 40, "0" * 80, "!" * 80, "no no no no no no no no")
PLAIN = ("yes", "no", "ok", "I don't know.", "Sure!")
REFUSALS = ("I'm sorry, but I can't help with that.", "I cannot answer that.", "Sorry, I can't help with that request.")


class Null(StrEnum):
    """Kinds of null answers."""

    SILENCE = "silence"
    """Nothing, or white space."""
    CONSTANT = "constant"
    """One text, choice or label for every prompt: usual ones, repeated ones, right ones of a suite."""
    ECHO = "echo"
    """The prompt, whole or in part."""
    REFUSAL = "refusal"
    ELSEWHERE = "elsewhere"
    """A model's answer to another case."""


@dataclass(frozen=True, slots=True)
class Reached:
    """The result of a null answer on the suite where it scores worst."""

    lower: float
    """95 % lower bound of the pass rate there, as `suite.<id>.lower` is of an adapter's; 1 where no suite asks."""
    what: str
    """Which of the null answers of its kind; may quote a suite."""
    suite: str
    """The suite where it scores worst; empty where no suite asks for an answer."""

    def __str__(self) -> str:
        if not self.suite:
            return "no suite asks for an answer"
        return f"{self.what} reaches {self.lower:.3f} on suite {self.suite}, where it does worst"


Answering = Callable[[Suite, Case], str]
Asked = Callable[[Suite, Null, Answering], float | None]
"""The bound of a null answer on a suite with a judge; None where no judge is asked."""


def unasked(_suite: Suite, _null: Null, _answering: Answering) -> float | None:
    """Return None: no judge is asked."""
    return None


def reached(null: Null, suites: Sequence[Suite], base: Mapping[str, SuiteRecord], asked: Asked = unasked) -> Reached:
    """Return the null answer of a kind that scores best on its worst one of `suites`; `base` are the known answers of
    the base.
    """
    ways = _elsewhere(suites, base) if null is Null.ELSEWHERE else _ways(null, suites, base)
    found = [_worst(null, what, answering, suites, asked) for what, answering in ways]
    return max(found, key=lambda one: one.lower, default=Reached(0.0, null.value, suites[0].id if suites else ""))


def _worst(null: Null, what: str, answering: Answering, suites: Sequence[Suite], asked: Asked) -> Reached:
    """Return the score of one null answer on the suite where it is lowest; judges are asked last, and only where it
    matters.
    """
    least = Reached(1.0, what, "")
    for suite in sorted(suites, key=lambda suite: suite.judged):
        if suite.judged:
            lower = asked(suite, null, answering) if least.lower >= _MATTERS and null is not Null.SILENCE else None
            lower = 0.0 if null is Null.SILENCE else lower
        else:
            lower = _bound(null, answering, suite)
        if lower is not None and (lower < least.lower or not least.suite):
            least = Reached(lower, what, suite.id)
    return least


_MATTERS = 0.5
"""No judge is asked about a null answer that another suite holds below this."""


def _bound(null: Null, answering: Answering, suite: Suite) -> float | None:
    """Return the score of the answer on a suite without a judge; None for one that asks for no answer (perplexity)."""
    cases = order_of(suite)[:SAMPLE]
    match suite.measure:
        case Measure.LIKELIHOOD:
            return None
        case Measure.GENERATE:
            passes = text_scorer(suite)
            return lower_bound(sum(passes(case, answering(suite, case)) for case in cases), len(cases))
    if null is Null.ELSEWHERE:
        return lower_bound(sum(answering(suite, case) == right_of(case) for case in cases), len(cases))
    # No constant answer makes one choice or label likelier than the others: a tie, which fails.
    return lower_bound(blind(suite, cases), len(cases)) if null is Null.CONSTANT else 0.0


def right_of(case: Case) -> str | None:
    """Return the right choice, or the right label."""
    return case.choices[case.answer] if case.answer is not None else case.expected


def blind(suite: Suite, cases: Sequence[Case]) -> int:
    """Return the largest share of `cases` that is passed without the prompt.

    Tried are one place, one text, the shortest, the longest, and the choice that begins or ends with one word.
    """
    texts = Counter(right_of(case) for case in cases)
    counts = [texts.most_common(1)[0][1]]
    if suite.measure is Measure.CHOICE:
        counts.append(Counter(case.answer for case in cases).most_common(1)[0][1])
        counts += [_by_word(cases, at) for at in (0, -1)]
        for far in (min, max):
            lengths = [[len(choice) for choice in case.choices] for case in cases]
            counts.append(
                sum(
                    of.count(far(of)) == 1 and of.index(far(of)) == case.answer
                    for of, case in zip(lengths, cases, strict=True)
                )
            )
    return max(counts)


def _by_word(cases: Sequence[Case], at: int) -> int:
    """Return how many cases the best word at `at` tells: the right choice has it there, and no other choice has."""
    told: Counter[str] = Counter()
    for case in cases:
        words = [(choice.casefold().split() or [""])[at] for choice in case.choices]
        right = words[case.answer or 0]
        told[right] += words.count(right) == 1
    return max(told.values(), default=0)


def _ways(null: Null, suites: Sequence[Suite], base: Mapping[str, SuiteRecord]) -> Iterator[tuple[str, Answering]]:
    match null:
        case Null.SILENCE:
            texts: Iterable[str] = SILENT
        case Null.REFUSAL:
            texts = (*REFUSALS, *_from_suites(suites, base, frozenset({ScorerKind.REFUSAL})))
        case Null.CONSTANT:
            kinds = frozenset(ScorerKind)
            texts = (*ARBITRARY, *PLAIN, *REPEATED, *JSON_VALUES, *_from_suites(suites, base, kinds))
        case _:
            yield "the last message", lambda _suite, case: last_user_text(case.prompt)
            yield "the whole prompt", _whole
            yield "the last line", lambda _suite, case: last_user_text(case.prompt).strip().rpartition("\n")[2]
            return
    for text in dict.fromkeys(texts):
        yield f"{null} {text[:40]!r}", lambda _suite, _case, said=text: said  # type: ignore[misc]


def _whole(suite: Suite, case: Case) -> str:
    asked = ask_form(case.prompt, suite.system_prompt)
    return asked if isinstance(asked, str) else "\n".join(message["content"] for message in asked)


def _from_suites(
    suites: Sequence[Suite], base: Mapping[str, SuiteRecord], kinds: frozenset[ScorerKind]
) -> Iterator[str]:
    """Return for each suite of text its most frequent and its first right answer, and the base's answers that pass."""
    for suite in suites:
        if suite.measure is not Measure.GENERATE or suite.scorer.kind not in kinds:
            continue
        right = [case.expected for case in order_of(suite)[:SAMPLE] if case.expected is not None]
        known = base.get(suite.id)
        said = [answer.text for answer in known.answers if answer.passed] if known is not None else []
        for texts in (right, said):
            if texts:
                yield Counter(texts).most_common(1)[0][0]
                yield texts[0]


def _elsewhere(suites: Sequence[Suite], base: Mapping[str, SuiteRecord]) -> Iterator[tuple[str, Answering]]:
    """Return for each case the answer to the case before it, where that is known."""
    given: dict[tuple[str, str], str] = {}
    known = [suite for suite in suites if suite.id in base and base[suite.id].answers]
    for suite in known:
        answers = base[suite.id].answers
        for at, answer in enumerate(answers):
            given[suite.id, answer.case] = answers[at - 1].text
    if known:
        yield "the answer to another case", lambda suite, case: given.get((suite.id, case.id), "")
    elif any(suite.scorer.kind in HAS_RIGHT_ANSWER for suite in suites):
        yield "the right answer to another case", _right_elsewhere(suites)


def _right_elsewhere(suites: Sequence[Suite]) -> Answering:
    given: dict[tuple[str, str], str] = {}
    for suite in suites:
        cases = order_of(suite)
        for at, case in enumerate(cases):
            given[suite.id, case.id] = right_of(cases[at - 1]) or ""
    return lambda suite, case: given[suite.id, case.id]
