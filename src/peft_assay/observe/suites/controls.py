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
    same = constant(suite)
    if suite.measure is Measure.GENERATE and not suite.judged:
        yield _tried(suite, "silence", "", lambda _case: "")
    if same is not None:
        yield same
    if suite.measure is Measure.CHOICE:
        yield Control("shortest", None, sum(map(_only_shortest, suite.cases)), len(suite.cases))
    elif suite.measure is Measure.GENERATE and not suite.judged:
        yield _tried(suite, "echo", None, lambda case: last_user_text(case.prompt))
        texts = JSON_VALUES if suite.scorer.kind is ScorerKind.JSON_SCHEMA else ARBITRARY
        trials = [_tried(suite, "arbitrary", text, lambda _case, t=text: t) for text in texts]  # type: ignore[misc]
        yield max(trials, key=lambda control: control.passes)


def constant(suite: Suite) -> Control | None:
    """The suite's most frequent right answer, given to every case; None where cases have no right answer."""
    n = len(suite.cases)
    if suite.measure is Measure.CHOICE:
        number, count = Counter(case.answer for case in suite.cases).most_common(1)[0]
        return Control("constant", f"always choice {number}", count, n)
    if suite.scorer.kind not in HAS_RIGHT_ANSWER:
        return None
    answer, count = Counter(case.expected or "" for case in suite.cases).most_common(1)[0]
    if suite.measure is Measure.CLASSIFY:
        return Control("constant", answer, count, n)
    return _tried(suite, "constant", answer, lambda _case: answer)


def _tried(suite: Suite, name: str, answer: str | None, of: Callable[[Case], str]) -> Control:
    passes = text_scorer(suite)
    return Control(name, answer, sum(passes(case, of(case)) for case in suite.cases), len(suite.cases))


def _only_shortest(case: Case) -> bool:
    lengths = [len(choice) for choice in case.choices]
    return lengths.count(min(lengths)) == 1 and lengths.index(min(lengths)) == case.answer
