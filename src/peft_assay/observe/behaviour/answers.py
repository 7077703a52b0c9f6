"""What models answer, as values: what was given for a case, how, and whether it passed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from peft_assay.core.wire import Trace

DIGITS = 5
"""Decimals of kept log-probabilities and entropies."""

CLOSE = 0.5
"""Margin in nats below which an answer in half precision is asked again: twice what a log-likelihood was seen to move
with the batch in bfloat16 (0.27, docs/performance.md)."""


@dataclass(frozen=True, slots=True)
class Path:
    """How a model saw the base's answer to a case, position by position: the answer in the dtype observed."""

    best: tuple[int, ...]
    """Its own likeliest token at each position; of the base, that is its answer."""
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
    """It was close to call, and asked again in float32; the path is still that of the dtype observed."""
    margin: float | None = None
    """By how many nats each token of a text led at least, where that was asked."""
    certain: str = ""
    """How the text begins whatever follows its certain tokens, where that was asked."""


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


def margin_of(given: Given) -> float:
    """By how many nats the answer won; infinite where nothing could have won instead.

    For a choice, over the second likeliest; for a text, the least lead of any of its tokens, and 0 where that was kept
    from a time when it was not asked for.
    """
    if given.tokens:
        return given.margin or 0.0
    best, *others = sorted(given.scores, reverse=True) if len(given.scores) > 1 else (math.inf,)
    return best - others[0] if others else math.inf
