"""The consumer's suites: how many cases pass, with exact bounds, and how that compares with the base, case by case."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.core.suite import Suite
from peft_assay.core.vocabulary import suite_terms
from peft_assay.observe.behaviour.conduct import SuiteRecord, conduct_suite
from peft_assay.observe.behaviour.interface import Plan, Seen, Turn
from peft_assay.observe.behaviour.statistics import difference_lower_bound, lower_bound, upper_bound
from peft_assay.observe.behaviour.terms import all_failed, unanswered


@dataclass(frozen=True, slots=True)
class SuitesRecord:
    """Answers to every suite, by suite id."""

    suites: Mapping[str, SuiteRecord]


class SuitesProbe:
    """Asks every suite; an adapter until the suite's stopping rule says enough, the base to its end."""

    id = "suites"
    version = "1"
    kind = SuitesRecord

    def terms(self, plan: Plan) -> tuple[str, ...]:
        """The terms of every suite."""
        return tuple(term.name for suite in plan.suites for term in suite_terms(suite.id))

    def ask(self, turn: Turn) -> SuitesRecord:
        """The base's failures are what an adapter is compared with, not a reason to stop; its answers are drafts."""
        if turn.base is None:
            whole = [replace(suite, stop_after_failures=None) for suite in turn.plan.suites]
            return SuitesRecord({suite.id: conduct_suite(turn.ask, suite, memory=turn.memory) for suite in whole})
        base = turn.base.of(SuitesRecord)
        drafts = {} if base is None else base.suites
        return SuitesRecord({s.id: conduct_suite(turn.ask, s, drafts.get(s.id), turn.memory) for s in turn.plan.suites})

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
    """Counts, exact bounds and the paired difference; unasked cases count as failures of the adapter."""
    unjudged = own.unjudged or base.unjudged
    if unjudged is not None:
        return all_failed([term.name for term in suite_terms(suite.id)], unjudged)
    n = len(suite.cases)
    mine = {answer.case for answer in own.answers if answer.passed}
    its = {answer.case for answer in base.answers if answer.passed}
    values: dict[str, bool | int | float] = {
        "n": n,
        "passes": len(mine),
        "rate": len(mine) / n,
        "lower": lower_bound(len(mine), n),
        "upper": upper_bound(len(mine), n),
        "base_rate": len(its) / n,
        "difference": (len(mine) - len(its)) / n,
        "difference_lower": difference_lower_bound(len(mine - its), len(its - mine), n),
        "complete": own.complete,
    }
    return [ok(f"suite.{suite.id}.{name}", value, by=ObservedBy.SUPERVISOR) for name, value in values.items()]
