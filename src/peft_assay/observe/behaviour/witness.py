"""Read all replies of one child: notice contradictions, and remember the questions that can be replayed.

All probes ask through it, so that replies to different probes are compared with each other too.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from peft_assay.core.errors import DocumentError
from peft_assay.core.sandbox import Ask, ChildGone
from peft_assay.observe.behaviour.answers import Answer
from peft_assay.observe.behaviour.contradictions import LARGEST_VOCABULARY, Known, contradiction, repeated
from peft_assay.observe.behaviour.heard import Exchange, can_be_replayed
from peft_assay.observe.behaviour.interface import REFERENCE_DTYPE, Plan, Records
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.strength import configuration_of, strength_of
from peft_assay.observe.interface import Unreadable


def known_of(adapter: Mapping[str, bytes], plan: Plan, base: Records) -> Known:
    """Return the supervisor's knowledge of this adapter and this base, without asking the child."""
    texts = {answer.tokens: answer.text for answer in _answers(base) if answer.tokens}
    return Known(
        vocabulary=plan.vocabulary or LARGEST_VOCABULARY,
        half=plan.dtype != REFERENCE_DTYPE,
        drafts=not _activated(adapter),
        strength=strength_of(adapter),
        texts=texts,
    )


class Witness:
    """One child's conversation, as its supervisor reads it."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._own_strength = True
        self.probe = ""
        """Id of the probe that asks at the moment."""
        self.exchanges: list[Exchange] = []
        """Questions at the adapter's own strength that can be replayed."""
        self.contradiction: str | None = None
        """The first contradiction of the child."""

    def listening(self, ask: Ask) -> Ask:
        """Return `ask` with a check: it raises ChildGone as soon as the child contradicts itself."""

        def asked(request: Mapping[str, Any]) -> Mapping[str, Any]:
            reply = ask(request)
            self._hear(request, reply)
            return reply

        return asked

    def _hear(self, request: Mapping[str, Any], reply: Mapping[str, Any]) -> None:
        found = contradiction(request, reply, self._known)
        if found is None and self._own_strength:
            found = repeated(request, reply, self._known)
        self.contradiction = self.contradiction or found
        if self.contradiction is not None:
            raise ChildGone(f"the child contradicts itself: {self.contradiction}")
        if request["op"] == "scale":
            self._own_strength = request["factor"] == 1.0
        if self._own_strength and can_be_replayed(request):
            self.exchanges.append(Exchange(self.probe, request, reply))


def _answers(base: Records) -> Iterable[Answer]:
    answered = base.of(SuitesRecord)
    return () if answered is None else (one for record in answered.suites.values() for one in record.answers)


def _activated(adapter: Mapping[str, bytes]) -> bool:
    """Whether it is an activated LoRA, or cannot be told."""
    try:
        return bool(configuration_of(adapter).get("alora_invocation_tokens"))
    except (DocumentError, Unreadable):
        return True
