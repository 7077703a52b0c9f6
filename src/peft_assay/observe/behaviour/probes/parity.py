"""Do two ways of computing give the same answers? What the suites were answered by, against the reference.

The reference is float32 on the CPU. How rows are packed, batched and drafted does not matter there, which is a law of
the engine and tested with it; so the reference answers as the suites were answered, but for the dtype. An engine that
serves can be compared in the same way (`compare`), once there is a driver that answers suites by it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.core.suite import Suite
from peft_assay.observe.behaviour.answers import Given
from peft_assay.observe.behaviour.asking import precisely
from peft_assay.observe.behaviour.conduct import order_of
from peft_assay.observe.behaviour.interface import REFERENCE_DTYPE, Plan, Seen, Turn
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.statistics import lower_bound
from peft_assay.observe.behaviour.terms import not_applicable, unanswered

CASES = 2
"""Of each suite, the first in its order."""
TERMS = ("parity.n", "parity.agreement", "parity.agreement_lower")


@dataclass(frozen=True, slots=True)
class ParityRecord:
    """What the reference answers, by suite id and case id."""

    answers: Mapping[str, Mapping[str, Given]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two ways of computing compare on the same cases."""

    n: int
    same: int


class ParityProbe:
    """Asks the adapter the first cases of each suite once more, of the reference."""

    id = "parity"
    version = "2"
    kind = ParityRecord

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """Three; not applicable where no suite gives answers that are one of several."""
        return TERMS

    def ask(self, turn: Turn) -> ParityRecord | None:
        """Nothing of the base: what is served is the adapter. Nothing where the reference itself was observed."""
        answered = turn.own.of(SuitesRecord)
        if turn.base is None or answered is None or turn.plan.dtype == REFERENCE_DTYPE:
            return None
        asked: dict[str, Mapping[str, Given]] = {}
        for suite in turn.plan.suites:
            cases, own = order_of(suite)[:CASES], answered.suites[suite.id].by_case()
            given = precisely(turn.ask, suite, cases, [own.get(case.id, Given("")) for case in cases])
            if given is not None:
                asked[suite.id] = {case.id: one for case, one in zip(cases, given, strict=True)}
        return ParityRecord(asked)

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """The share of equal answers, with its exact lower bound."""
        if seen.plan.dtype == REFERENCE_DTYPE:
            return not_applicable(TERMS, "observed in float32 on the CPU, which is the reference")
        record, answered = seen.own.of(ParityRecord), seen.own.of(SuitesRecord)
        if record is None or answered is None:
            return unanswered(TERMS)
        found = compare(seen.plan.suites, answered, record)
        if found.n == 0:
            return not_applicable(TERMS, "no suite of texts or choices was answered")
        values = (found.n, found.same / found.n, lower_bound(found.same, found.n))
        return [ok(name, value, by=ObservedBy.ANSWERS) for name, value in zip(TERMS, values, strict=True)]


def compare(suites: Iterable[Suite], one: SuitesRecord, other: ParityRecord) -> Agreement:
    """How many of the cases that both answered have the same text, or the same choice."""
    pairs = [
        (answers[case].text, given.text)
        for suite in suites
        if suite.id in one.suites
        for answers in (one.suites[suite.id].by_case(),)
        for case, given in other.answers.get(suite.id, {}).items()
        if case in answers
    ]
    return Agreement(len(pairs), sum(mine == its for mine, its in pairs))
