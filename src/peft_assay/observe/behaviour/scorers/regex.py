"""regex: the suite's pattern is found in the answer."""

from peft_assay.core.suite import ScorerKind, Suite
from peft_assay.observe.behaviour.scorers.interface import Scores
from peft_assay.observe.suites.patterns import compile_pattern


class RegexScorer:
    """Searches by RE2, in linear time."""

    kind = ScorerKind.REGEX

    def of(self, suite: Suite, *, where: str) -> Scores:
        """One pattern for all cases."""
        pattern = compile_pattern(suite.scorer.pattern or "", where=f"{where}: scorer.pattern")
        return lambda _case, answer: pattern.search(answer) is not None
