"""Does the adapter do anything, the same thing twice, and leave the base alone?"""

from collections.abc import Iterable
from dataclasses import dataclass

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.core.wire import EffectReply
from peft_assay.observe.behaviour.conduct import order_of
from peft_assay.observe.behaviour.interface import Plan, Seen, Turn
from peft_assay.observe.behaviour.replies import expect
from peft_assay.observe.behaviour.terms import unanswered

PROMPTS = 4
"""Prompts of each suite, of at most two suites."""
TERMS = ("effect.differs_from_base", "effect.base_unchanged", "effect.deterministic")


@dataclass(frozen=True, slots=True)
class EffectRecord:
    """What two loads of the same bytes showed."""

    differs: bool
    finite: bool
    deterministic: bool
    base_state: str


class EffectProbe:
    """Compares logits of adapter, base, and a second load."""

    id = "effect"
    version = "3"
    kind = EffectRecord

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """Three, all of them the child's word: good for a refusal, never enough for admission."""
        return TERMS

    def ask(self, turn: Turn) -> EffectRecord | None:
        """Asks with the first prompts of the suites; nothing to ask of the base."""
        if turn.base is None:
            return None
        prompts = [suite.ask_form(case) for suite in turn.plan.suites for case in order_of(suite)[:PROMPTS]]
        reply = expect(EffectReply, turn.ask({"op": "effect", "prompts": prompts[: 2 * PROMPTS]}))
        return EffectRecord(reply.differs, reply.finite, reply.deterministic, reply.baseState)

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """An adapter whose logits are not finite has no effect that could be served."""
        record = seen.own.of(EffectRecord)
        if record is None:
            return unanswered(TERMS)
        values = (record.differs and record.finite, record.base_state == seen.base_state, record.deterministic)
        return [ok(name, value, by=ObservedBy.CHILD) for name, value in zip(TERMS, values, strict=True)]
