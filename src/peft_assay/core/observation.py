"""Observations: measured facts with a status. Never opinions; the policy judges."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from peft_assay.core.canonical import MAX_EXACT_INTEGER
from peft_assay.core.digest import Digest

Value = bool | int | float | str | tuple[str, ...]
"""What an observation can measure. Rates are fractions in [0, 1]; sizes are bytes; durations are seconds."""


class Status(StrEnum):
    """Whether a fact was measured. Only `OK` carries a value; absence is a value of its own."""

    OK = "ok"
    FAILED = "failed"
    NOT_APPLICABLE = "notApplicable"
    NOT_REQUESTED = "notRequested"
    """The context does not declare what it would have been measured by: nothing was tried, and nothing went wrong."""

    @property
    def called(self) -> str:
        """Return the name for people."""
        names = {Status.NOT_APPLICABLE: "not applicable", Status.NOT_REQUESTED: "not requested"}
        return names.get(self, self.value)


class ObservedBy(StrEnum):
    """The party that computed an observation, and the source of its input. The sandboxed child's word may reject an
    adapter; an observation that rests on this word was compared with the child's other replies
    (`answers.contradictions`) and, where the type can be computed without PEFT, replayed.
    """

    INTAKE = "intake"
    """Read from the files."""
    SUPERVISOR = "supervisor"
    """The supervisor alone, by its own clock, counts and record."""
    ANSWERS = "supervisorOnAnswers"
    """The supervisor, which scored, counted or compared the child's answers."""
    NUMBERS = "supervisorOnNumbers"
    """The supervisor, which computed with likelihoods and other numbers that the child stated."""
    CHILD = "child"
    """The child's word alone."""

    @property
    def called(self) -> str:
        """Return the name for people."""
        basis = {ObservedBy.ANSWERS: "answers", ObservedBy.NUMBERS: "numbers"}.get(self)
        return self.value if basis is None else f"supervisor, on the child's {basis}"


@dataclass(frozen=True, slots=True)
class Observation:
    """One measured fact, named by a term of the vocabulary."""

    name: str
    status: Status
    value: Value | None
    observed_by: ObservedBy
    reason: str | None = None
    """Why it failed or does not apply, or what exactly was seen (may quote hostile text; escape to show)."""
    evidence: Digest | None = None
    """Digest of the stored record that the value was computed from, where there is one."""

    def __post_init__(self) -> None:
        if (self.status is Status.OK) != (self.value is not None):
            raise ValueError(f"{self.name}: exactly an ok observation carries a value")
        if isinstance(self.value, float) and not math.isfinite(self.value):
            raise ValueError(f"{self.name}: a value that is not finite was not measured")
        if isinstance(self.value, int) and abs(self.value) > MAX_EXACT_INTEGER:
            raise ValueError(f"{self.name}: {self.value} is no number that can be signed exactly")

    def document(self) -> dict[str, Any]:
        """The observation as it stands in a signed statement."""
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        return {
            "name": self.name,
            "status": self.status.value,
            "value": value,
            "observedBy": self.observed_by.value,
            "reason": self.reason,
            "evidence": self.evidence,
        }


def ok(
    name: str, value: Value, *, by: ObservedBy, reason: str | None = None, evidence: Digest | None = None
) -> Observation:
    """An observation that was made."""
    return Observation(name, Status.OK, value, by, reason, evidence)


def failed(name: str, reason: str, *, by: ObservedBy) -> Observation:
    """An observation that should have been made and was not: no rule that needs it can pass."""
    return Observation(name, Status.FAILED, None, by, reason)


@dataclass(frozen=True, slots=True)
class ObservationSet:
    """All observations of one artifact under one set of observation conditions."""

    artifact: Digest
    conditions: Digest
    observed_at: datetime
    """When the oldest of them began to be made (UTC, whole seconds). A certificate's age counts from here."""
    observations: tuple[Observation, ...]
    """Sorted by name, each name once."""

    def __post_init__(self) -> None:
        names = [observation.name for observation in self.observations]
        if names != sorted(set(names)):
            raise ValueError("observations are sorted by name, each name once")

    def get(self, name: str) -> Observation | None:
        """The observation called `name`, or None."""
        return next((o for o in self.observations if o.name == name), None)


def sort_observations(observations: Iterable[Observation]) -> tuple[Observation, ...]:
    """`observations` in the order an ObservationSet wants; raises ValueError when two share a name."""
    ordered = tuple(sorted(observations, key=lambda observation: observation.name))
    for first, second in itertools.pairwise(ordered):
        if first.name == second.name:
            raise ValueError(f"{first.name}: observed twice")
    return ordered
