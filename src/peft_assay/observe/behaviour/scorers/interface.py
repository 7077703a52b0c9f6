"""Scoring, outside the sandbox: the supervisor holds the expected answers, the child never sees them.

An answer is hostile text, and whoever writes a suite may be hostile as well: every scorer ends in a time that is
bounded by the sizes of both.
"""

from collections.abc import Callable
from typing import Protocol

from peft_assay.core.suite import Case, ScorerKind, Suite

MAX_ANSWER = 200_000
"""Characters; a longer answer fails unread."""

Scores = Callable[[Case, str], bool]
"""Whether an answer to a case passes."""


class TextScorer(Protocol):
    """Scores generated text by one kind of scorer."""

    @property
    def kind(self) -> ScorerKind:
        """The kind that suites name."""

    def of(self, suite: Suite, *, where: str) -> Scores:
        """How answers to `suite` are scored.

        Raises DocumentError, naming the field, for what the suite's scorer says wrongly. The result raises nothing, but
        for a judge's: JudgeFailed.
        """
