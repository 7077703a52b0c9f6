"""Does the adapter do here what its publisher says it does?"""

from collections.abc import Iterable, Iterator

from peft_assay.core.exercises import ClaimedTask
from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.behaviour.concluding import Concluding
from peft_assay.observe.behaviour.interface import Claim, Plan, Seen
from peft_assay.observe.behaviour.probes.suites import SuitesRecord, counts_of
from peft_assay.observe.behaviour.terms import all_failed, not_requested, unanswered

TERMS = ("claims.checked", "claims.contradicted")
SHOWN = 60
"""Characters of a claim's own names that are told."""


class Unstated(ValueError):
    """A claim that cannot be compared: it states no share of cases, or its suite has none."""


class ClaimsProbe(Concluding):
    """Asks nothing: what a suite measured is compared with what the card claims for the same task."""

    id = "claims"
    version = "1"

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """Two; not requested where the context says of no suite that it is about a claimed task."""
        return TERMS

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """How many claims were compared, and those that the exact interval excludes."""
        own, base = seen.own.of(SuitesRecord), seen.base.of(SuitesRecord)
        declared, claims = seen.plan.exercises.claims, seen.plan.claims
        if not declared:
            return not_requested(
                TERMS, "behaviour.claims in peft-assay.yaml says of no suite that it is a claimed task"
            )
        if own is None or base is None:
            return unanswered(TERMS)
        if claims.problem is not None:
            return all_failed(TERMS, f"the card's claims cannot be read: {claims.problem}")
        matching = [(task, claim) for task in declared for claim in claims.results if _same(task, claim)]
        try:
            contradicted = tuple(_contradicted(seen.plan, own, base, matching))
        except Unstated as reason:
            return all_failed(TERMS, str(reason))
        told = None if matching else "the card claims no result for a declared task"
        by = ObservedBy.ANSWERS
        return [ok(TERMS[0], len(matching), by=by, reason=told), ok(TERMS[1], contradicted, by=by, reason=told)]


def _same(task: ClaimedTask, claim: Claim) -> bool:
    named = {name for name in (claim.dataset, claim.dataset_name) if name}
    return task.task == claim.task and task.metric == claim.metric and task.dataset in named


def _contradicted(
    plan: Plan, own: SuitesRecord, base: SuitesRecord, matching: Iterable[tuple[ClaimedTask, Claim]]
) -> Iterator[str]:
    for task, claim in matching:
        suite = plan.suite(task.suite)
        if suite is None:
            raise Unstated(f"there is no suite {task.suite}")
        mine, its = own.suites[suite.id], base.suites[suite.id]
        unjudged = mine.unjudged or its.unjudged
        if unjudged is not None:
            raise Unstated(f"suite {suite.id}: {unjudged}")
        low, high = counts_of(suite, mine, its).rate_interval()
        share = share_of(claim)
        if not low <= share <= high:
            yield f"{suite.id}: {_named(claim)} is claimed to be {share:.4g}, measured {low:.4g} to {high:.4g}"


def share_of(claim: Claim) -> float:
    """The claim as a share of cases: up to 1 it is one, above 1 and up to 100 a percentage; else raises Unstated."""
    value = claim.value
    if value is None or not 0 <= value <= 100:
        raise Unstated(f"the card's {_named(claim)} is neither a share nor a percentage")
    return value if value <= 1 else value / 100


def _named(claim: Claim) -> str:
    return f"{claim.metric[:SHOWN]} on {(claim.dataset or claim.dataset_name)[:SHOWN]}"
