"""Observations that were not made, for many terms at once."""

from collections.abc import Iterable

from peft_assay.core.observation import Observation, ObservedBy, Status, failed


def unanswered(names: Iterable[str]) -> list[Observation]:
    """Failed observations for what was to be asked and has no answer."""
    return all_failed(names, "the child did not answer")


def all_failed(names: Iterable[str], reason: str) -> list[Observation]:
    """Failed observations with one reason."""
    return [failed(name, reason, by=ObservedBy.SUPERVISOR) for name in names]


def not_applicable(names: Iterable[str], reason: str) -> list[Observation]:
    """Observations that do not apply to this adapter or suite, with one reason."""
    return [Observation(name, Status.NOT_APPLICABLE, None, ObservedBy.SUPERVISOR, reason) for name in names]


def not_requested(names: Iterable[str], reason: str) -> list[Observation]:
    """Observations that the context asks for nowhere; `reason` names what it would have to declare."""
    return [Observation(name, Status.NOT_REQUESTED, None, ObservedBy.SUPERVISOR, reason) for name in names]
