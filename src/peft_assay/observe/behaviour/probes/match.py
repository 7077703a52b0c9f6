"""Is this the base that the adapter was made for? On a wrong one it no longer finds ordinary text likely."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.core.suite import Measure
from peft_assay.observe.behaviour.answers import SuiteRecord
from peft_assay.observe.behaviour.concluding import Concluding
from peft_assay.observe.behaviour.divergence import LEAST_LOG, Incomparable
from peft_assay.observe.behaviour.interface import Plan, Seen
from peft_assay.observe.behaviour.probes.drift import drifts_of, off_task
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.terms import all_failed, not_requested, unanswered

TERMS = ("match.log_likelihood_change",)
UNDECLARED = "no ordinary text: name suites under behaviour.offTask in peft-assay.yaml, or add one scored by perplexity"


@dataclass(frozen=True, slots=True)
class _Change:
    suite: str
    tokens: int
    each: float
    """Mean change of the log-likelihood of a token, in nats."""


class MatchProbe(Concluding):
    """Asks nothing: the ordinary text is that of perplexity suites, and what the base answered off task.

    Expected answers stay outside, so the text is not theirs.
    """

    id = "match"
    version = "1"

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """One; not requested where the context has no ordinary text."""
        return TERMS

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """The change on the suite where it fell most."""
        own, base = seen.own.of(SuitesRecord), seen.base.of(SuitesRecord)
        if own is None or base is None:
            return unanswered(TERMS)
        try:
            changes = list(_changes(seen.plan, own, base))
        except Incomparable as reason:
            return all_failed(TERMS, str(reason))
        if not changes:
            return not_requested(TERMS, UNDECLARED)
        worst = min(changes, key=lambda change: change.each)
        over = f"suite {worst.suite}, {worst.tokens} tokens"
        return [ok(TERMS[0], worst.each, by=ObservedBy.NUMBERS, reason=over)]


def _changes(plan: Plan, own: SuitesRecord, base: SuitesRecord) -> Iterator[_Change]:
    if plan.exercises.off_task:
        for name, drift in off_task(plan, drifts_of(plan.suites, own, base)).items():
            yield _Change(name, drift.tokens, drift.log_likelihood_change)
    for suite in plan.suites:
        if suite.measure is Measure.LIKELIHOOD:
            yield _of_texts(own.suites[suite.id], base.suites[suite.id])


def _of_texts(own: SuiteRecord, base: SuiteRecord) -> _Change:
    """Of the texts of a perplexity suite; raises Incomparable where both did not score the same tokens."""
    before = base.by_case()
    total, tokens = [], 0
    for answer in own.answers:
        (mine, count), theirs = answer.scores, before.get(answer.case)
        if theirs is None or theirs.scores[1] != count:
            raise Incomparable(f"suite {own.suite}: adapter and base did not score the same tokens")
        total.append(max(mine, LEAST_LOG * count) - max(theirs.scores[0], LEAST_LOG * count))
        tokens += int(count)
    if tokens == 0:
        raise Incomparable(f"suite {own.suite}: no token was scored")
    return _Change(own.suite, tokens, math.fsum(total) / tokens)
