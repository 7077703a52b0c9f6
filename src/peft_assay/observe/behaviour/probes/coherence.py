"""Are the answers answers? What is garbage neither does the task nor refuses, whatever a scorer makes of it."""

from collections import Counter
from collections.abc import Iterable

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.core.suite import Measure, ScorerKind, Suite
from peft_assay.core.vocabulary import coherence_terms
from peft_assay.observe.behaviour.answers import SuiteRecord
from peft_assay.observe.behaviour.concluding import Concluding
from peft_assay.observe.behaviour.endings import end_tokens, fault
from peft_assay.observe.behaviour.interface import Plan, Seen
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.statistics import upper_bound
from peft_assay.observe.behaviour.terms import all_failed, unanswered


class CoherenceProbe(Concluding):
    """Asks nothing: it looks at what was generated for the suites."""

    id = "coherence"
    version = "1"

    def terms(self, plan: Plan) -> tuple[str, ...]:
        """Two of every suite."""
        return tuple(term.name for suite in plan.suites for term in coherence_terms(suite.id))

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """Counts of each suite, by what the supervisor itself finds in texts and tokens."""
        own, base = seen.own.of(SuitesRecord), seen.base.of(SuitesRecord)
        if own is None or base is None:
            return unanswered(self.terms(seen.plan))
        return [o for s in seen.plan.suites for o in _of_suite(s, own.suites[s.id], base.suites[s.id])]


def _of_suite(suite: Suite, own: SuiteRecord, base: SuiteRecord) -> Iterable[Observation]:
    count, bound = (term.name for term in coherence_terms(suite.id))
    by, unjudged = ObservedBy.ANSWERS, own.unjudged or base.unjudged
    if unjudged is not None:
        return all_failed((count, bound), unjudged)
    if suite.measure is not Measure.GENERATE:
        nothing = "nothing is generated for this suite"
        return [ok(count, 0, by=by, reason=nothing), ok(bound, 0.0, by=by, reason=nothing)]
    faults = Counter(degenerate(suite, own, base).values())
    told = ", ".join(f"{number} {kind}" for kind, number in sorted(faults.items())) or None
    unasked = len(suite.cases) - len(own.answers)
    most = upper_bound(faults.total() + unasked, len(suite.cases))
    return [ok(count, faults.total(), by=by, reason=told), ok(bound, most, by=by, reason=told)]


def degenerate(suite: Suite, own: SuiteRecord, base: SuiteRecord) -> dict[str, str]:
    """Case -> what is wrong with the adapter's answer, where the same is not wrong with the base's.

    An answer that is exactly the expected one is none of these, however it looks.
    """
    limit = suite.max_new_tokens
    ends = end_tokens(base, limit)
    before = {answer.case: fault(answer, limit, ends) for answer in base.answers}
    found = {}
    for answer in own.answers:
        wrong = fault(answer, limit, ends)
        wanted = answer.passed and suite.scorer.kind is ScorerKind.EXACT
        if wrong is not None and wrong != before.get(answer.case) and not wanted:
            found[answer.case] = wrong
    return found
