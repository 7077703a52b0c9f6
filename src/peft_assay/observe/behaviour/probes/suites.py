"""The consumer's suites: how many cases pass, with exact bounds, and how that compares with the base, case by case."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.core.suite import Measure, Suite
from peft_assay.core.vocabulary import counted_terms
from peft_assay.observe.behaviour.answers import SuiteRecord
from peft_assay.observe.behaviour.conduct import conduct_suite
from peft_assay.observe.behaviour.interface import Plan, Seen, Turn
from peft_assay.observe.behaviour.statistics import Counts, mcnemar_p
from peft_assay.observe.behaviour.terms import all_failed, unanswered


@dataclass(frozen=True, slots=True)
class SuitesRecord:
    """Answers to every suite, by suite id."""

    suites: Mapping[str, SuiteRecord]


class SuitesProbe:
    """Asks every suite; an adapter until the suite's stopping rule says enough, the base to its end."""

    id = "suites"
    version = "3"
    kind = SuitesRecord

    def terms(self, plan: Plan) -> tuple[str, ...]:
        """What is counted on every suite."""
        return tuple(term.name for suite in plan.suites for term in counted_terms(suite.id))

    def ask(self, turn: Turn) -> SuitesRecord:
        """The base's failures are what an adapter is compared with, not a reason to stop; its answers are drafts."""
        close = turn.plan.close
        if turn.base is None:
            whole = [replace(suite, stop_after_failures=None) for suite in turn.plan.suites]
            return SuitesRecord({s.id: conduct_suite(turn.ask, s, None, turn.memory, close=close) for s in whole})
        base = turn.base.of(SuitesRecord)
        drafts = {} if base is None else base.suites
        return SuitesRecord(
            {s.id: conduct_suite(turn.ask, s, drafts.get(s.id), turn.memory, close=close) for s in turn.plan.suites}
        )

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """Counts, bounds and differences of each suite."""
        own, base = seen.own.of(SuitesRecord), seen.base.of(SuitesRecord)
        if own is None or base is None:
            return unanswered(self.terms(seen.plan))
        return [
            observation
            for suite in seen.plan.suites
            for observation in suite_observations(suite, own.suites[suite.id], base.suites[suite.id])
        ]


def suite_observations(suite: Suite, own: SuiteRecord, base: SuiteRecord) -> list[Observation]:
    """Counts, exact bounds and the paired difference; unasked cases count as failures of the adapter.

    Of a suite that was stopped early every statistic is censored: each observation says so, and the test that cannot
    be made of censored counts fails.
    """
    unjudged = own.unjudged or base.unjudged
    if unjudged is not None:
        return all_failed([term.name for term in counted_terms(suite.id)], unjudged)
    by = ObservedBy.ANSWERS if suite.measure is Measure.GENERATE else ObservedBy.NUMBERS
    counts = counts_of(suite, own, base)
    stopped = None if own.complete else f"stopped after {counts.asked} of {counts.n} cases; the rest count as failures"
    found = [
        ok(f"suite.{suite.id}.{name}", value, by=by, reason=stopped) for name, value in counted_values(counts).items()
    ]
    found.append(ok(f"suite.{suite.id}.complete", own.complete, by=by, reason=stopped))
    mcnemar = f"suite.{suite.id}.mcnemar_p"
    if stopped is None:
        found.append(ok(mcnemar, mcnemar_p(counts.gains, counts.losses), by=by))
    else:
        found.append(failed(mcnemar, f"{stopped}: the test needs all of them", by=by))
    return found


def counts_of(suite: Suite, own: SuiteRecord, base: SuiteRecord) -> Counts:
    """Paired outcomes; raises ValueError when the base was not asked every case."""
    mine = {answer.case for answer in own.answers if answer.passed}
    its = {answer.case for answer in base.answers if answer.passed}
    asked = {answer.case for answer in own.answers}
    return Counts(
        n=len(suite.cases),
        asked=len(asked),
        passes=len(mine),
        gains=len(mine - its),
        losses=len((its & asked) - mine),
        base_passes=len(its),
    )


def counted_values(counts: Counts) -> dict[str, int | float]:
    """By name within the suite: everything that counts give however the asking ended."""
    lower, upper = counts.rate_bounds()
    low, high = counts.rate_interval()
    least, most = counts.difference_bounds()
    return {
        "n": counts.n,
        "asked": counts.asked,
        "passes": counts.passes,
        "rate": counts.passes / counts.n,
        "lower": lower,
        "upper": upper,
        "interval_low": low,
        "interval_high": high,
        "failures_upper": 1 - lower,
        "base_rate": counts.base_passes / counts.n,
        "gains": counts.gains,
        "losses": counts.losses_at_most,
        "difference": (counts.passes - counts.base_passes) / counts.n,
        "difference_lower": least,
        "difference_upper": most,
    }
