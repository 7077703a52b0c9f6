"""Does the adapter load, exactly as declared?"""

from collections.abc import Iterable
from dataclasses import dataclass

from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.core.wire import LoadReply
from peft_assay.observe.behaviour.interface import Plan, Seen, Turn
from peft_assay.observe.behaviour.replies import expect

MOST_NAMES = 100


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """What the child said when it was told to load."""

    loaded: bool
    unmet: tuple[str, ...]
    problem: str | None


class LoadProbe:
    """Asked first; an adapter that does not load is asked nothing else."""

    id = "load"
    version = "1"
    kind = LoadRecord

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """The one term about the tensor plan."""
        return ("plan.unmet",)

    def ask(self, turn: Turn) -> LoadRecord | None:
        """Has the child load the adapter; nothing to do for the base."""
        if turn.base is None:
            return None
        reply = expect(LoadReply, turn.ask({"op": "load"}))
        unmet = (
            *(f"missing {name}" for name in reply.plan.missing),
            *(f"extra {name}" for name in reply.plan.extra),
            *(f"mis-shaped {name}" for name in reply.plan.mismatched),
        )
        return LoadRecord(reply.loaded, unmet[:MOST_NAMES], reply.problem)

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """The unmet part of the plan; failed when it could not be made."""
        record = seen.own.of(LoadRecord)
        if record is None:
            yield failed("plan.unmet", "the child did not answer", by=ObservedBy.SUPERVISOR)
        elif not record.unmet and not record.loaded:
            yield failed("plan.unmet", record.problem or "not loaded", by=ObservedBy.CHILD)
        else:
            yield ok("plan.unmet", record.unmet, by=ObservedBy.CHILD, reason=record.problem)
