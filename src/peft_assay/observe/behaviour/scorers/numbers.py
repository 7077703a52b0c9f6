"""choice, label and perplexity: scored by what the model found likely, not by what it wrote."""

import math
from collections.abc import Sequence

from peft_assay.core.suite import Case, Scorer


def choice_passes(case: Case, log_likelihoods: Sequence[float]) -> bool:
    """Whether the right choice is the single most likely one; a tie is a failure."""
    best = max(log_likelihoods)
    return log_likelihoods.count(best) == 1 and log_likelihoods.index(best) == case.answer


def label_passes(case: Case, logits: Sequence[float], labels: Sequence[str]) -> bool:
    """Whether the expected label has the single largest logit; a tie is a failure."""
    best = max(logits)
    return logits.count(best) == 1 and labels[logits.index(best)] == case.expected


def perplexity(log_likelihood: float, tokens: float) -> float:
    """The exponential of the mean negative log-likelihood per token; infinite where that is beyond a float."""
    try:
        return math.exp(-log_likelihood / tokens)
    except OverflowError:
        return math.inf


def perplexity_passes(scorer: Scorer, log_likelihood: float, tokens: float) -> bool:
    """Whether the expected text's perplexity is at most what the suite allows."""
    return scorer.maximum is not None and perplexity(log_likelihood, tokens) <= scorer.maximum
