"""Control answers: what says nothing, or always the same, is put through a suite's own scorer, and must not pass it."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from peft_assay.core.suite import Case, Measure, ScorerKind, Suite, last_user_text
from peft_assay.observe.behaviour.scorers.catalogue import text_scorer

MUST_SPEAK = frozenset({ScorerKind.REGEX, ScorerKind.REFUSAL, ScorerKind.JSON_SCHEMA, ScorerKind.COMPLIANCE})
"""Kinds by which an answer passes for something that is in it; by the others silence passes or fails by definition."""
HAS_RIGHT_ANSWER = frozenset({ScorerKind.EXACT, ScorerKind.TOOL_CALL, ScorerKind.CHOICE, ScorerKind.LABEL})
ARBITRARY = ("qwertz", "0", "?!", "漢字", "Lorem ipsum dolor sit amet.")
"""Texts of different alphabets: a scorer that passes all of them asks for nothing."""
JSON_VALUES = ("null", "true", "0", "-1.5", '""', '"text"', "[]", "[null]", "{}", '{"qwertz": 0}')
"""Values of every type: a schema that takes all of them asks for nothing."""


@dataclass(frozen=True, slots=True)
class Control:
    """How many cases an answer that knows nothing passes."""

    name: str
    answer: str | None
    """What was answered to every case; None where it depends on the case."""
    passes: int
    n: int

    @property
    def rate(self) -> float:
        """The share of cases passed."""
        return self.passes / self.n


def run_controls(suite: Suite) -> Iterator[Control]:
    """Silence, the suite's most frequent answer, the prompt itself, and arbitrary texts; over all cases of `suite`.

    A judge is not asked, and perplexities have no control that could be written down.
    """
    n = len(suite.cases)
    if suite.measure is Measure.CHOICE:
        number, count = Counter(case.answer for case in suite.cases).most_common(1)[0]
        yield Control("constant", f"always choice {number}", count, n)
        shortest = sum(_only_shortest(case) for case in suite.cases)
        yield Control("shortest", None, shortest, n)
    elif suite.measure is Measure.CLASSIFY:
        label, count = Counter(str(case.expected) for case in suite.cases).most_common(1)[0]
        yield Control("constant", label, count, n)
    elif suite.measure is Measure.GENERATE and suite.scorer.kind is not ScorerKind.JUDGE:
        yield from _text_controls(suite)


def _text_controls(suite: Suite) -> Iterator[Control]:
    passes = text_scorer(suite)

    def tried(name: str, answer: str | None, of: Callable[[Case], str]) -> Control:
        return Control(name, answer, sum(passes(case, of(case)) for case in suite.cases), len(suite.cases))

    yield tried("silence", "", lambda _case: "")
    if suite.scorer.kind in HAS_RIGHT_ANSWER:
        constant = Counter(case.expected or "" for case in suite.cases).most_common(1)[0][0]
        yield tried("constant", constant, lambda _case: constant)
    yield tried("echo", None, lambda case: last_user_text(case.prompt))
    texts = JSON_VALUES if suite.scorer.kind is ScorerKind.JSON_SCHEMA else ARBITRARY
    trials = [(text, sum(passes(case, text) for case in suite.cases)) for text in texts]
    text, most = max(trials, key=lambda trial: trial[1])
    yield Control("arbitrary", text, most, len(suite.cases))


def _only_shortest(case: Case) -> bool:
    lengths = [len(choice) for choice in case.choices]
    return lengths.count(min(lengths)) == 1 and lengths.index(min(lengths)) == case.answer
