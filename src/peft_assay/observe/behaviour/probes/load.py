"""Does the adapter load, exactly as declared?"""

from collections.abc import Iterable
from dataclasses import dataclass

from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.core.wire import LoadReply
from peft_assay.observe.behaviour.interface import Plan, Seen, Turn
from peft_assay.observe.behaviour.replies import expect

MOST_NAMES = 100
MENDED = "; rename "
"""What a problem says that is one change of all names: it tells more than the names do."""
TERMS = ("plan.unmet", "plan.converted")


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """What the child said when it was told to load."""

    loaded: bool
    unmet: tuple[str, ...]
    converted: tuple[str, ...]
    problem: str | None


class LoadProbe:
    """Asked first; an adapter that does not load is asked nothing else."""

    id = "load"
    version = "2"
    kind = LoadRecord

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """Return the terms about the tensor plan."""
        return TERMS

    def ask(self, turn: Turn) -> LoadRecord | None:
        """Has the child load the adapter; nothing to do for the base."""
        if turn.base is None:
            return None
        reply = expect(LoadReply, turn.ask({"op": "load"}))
        cause = [reply.problem] if reply.problem is not None and MENDED in reply.problem else []
        unmet = (
            *(cause if reply.plan.missing else ()),
            *(f"missing {name}" for name in reply.plan.missing),
            *(f"extra {name}" for name in reply.plan.extra),
            *(f"mis-shaped {name}" for name in reply.plan.mismatched),
        )
        return LoadRecord(reply.loaded, unmet[:MOST_NAMES], tuple(reply.conversions[:MOST_NAMES]), reply.problem)

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """Return the unmet part of the plan and what was converted; failed where there is no plan."""
        record = seen.own.of(LoadRecord)
        unmet, converted = TERMS
        if record is None:
            return [failed(term, "the child did not answer", by=ObservedBy.SUPERVISOR) for term in TERMS]
        if not record.loaded and not record.unmet:
            return [failed(term, record.problem or "not loaded", by=ObservedBy.CHILD) for term in TERMS]
        plan = ok(unmet, record.unmet, by=ObservedBy.CHILD, reason=record.problem)
        if not record.loaded:
            return [plan, failed(converted, f"not loaded: {record.problem or 'no reason'}", by=ObservedBy.CHILD)]
        return [plan, ok(converted, record.converted, by=ObservedBy.CHILD)]
