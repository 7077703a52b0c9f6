"""What renderers are given. All text in these values may be hostile; renderers show it through `report.sink` only."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peft_assay.core.artifact import Artifact
from peft_assay.core.certificate import Certificate
from peft_assay.core.context import Lock
from peft_assay.core.errors import Door
from peft_assay.core.observation import Observation, ObservationSet, Value
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.core.verdict import OUTCOME_DOORS, Outcome, RuleResult, Verdict


@dataclass(frozen=True, slots=True)
class Sample:
    """One case on which adapter and base answered differently."""

    suite: str
    case: str
    prompt: str
    base_answer: str
    adapter_answer: str
    expected: str | None
    """None where the scorer is a pattern, or the suite's confidentiality forbids to show it."""
    adapter_passed: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why intake made no artifact of the source, or why the authority does not certify what the policy passes."""

    message: str
    where: str | None
    next_step: str


@dataclass(frozen=True, slots=True)
class CertificationReport:
    """Everything that can be said of one adapter in one context.

    Either `verdict`, `observations`, `artifact` and `lock` are given, or `refusal` is.
    """

    title: str
    adapter: str
    """Its name in the context."""
    source: str
    """Where it came from, as the user wrote it: what a next command is about."""
    context: str
    generated_at: datetime
    """UTC; read by the caller."""
    verdict: Verdict | None
    observations: ObservationSet | None
    artifact: Artifact | None
    lock: Lock | None
    refusal: Refusal | None = None
    withheld: Refusal | None = None
    """The hold that forbids to certify what the policy passes."""
    parameters: Mapping[str, Value] | None = None
    """The policy's parameters as it names them, ``params.floor``: thresholds to draw."""
    attestation: Mapping[str, Any] | None = None
    """The sandbox's own statement of what was in force."""
    samples: tuple[Sample, ...] = ()
    certificate: Certificate | None = None
    attempts: int = 1
    """How often this artifact was observed in this context, this time included."""
    verify_commands: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        judged = (self.verdict, self.observations, self.artifact, self.lock)
        if any((part is None) != (self.refusal is not None) for part in judged):
            raise ValueError("a report has a verdict with its observations, artifact and lock, or a refusal")
        if self.certificate is not None and self.outcome is not Outcome.PASS:
            raise ValueError("only what passed has a certificate")

    @property
    def outcome(self) -> Outcome:
        """The verdict's outcome; REFUSED when there is none."""
        if self.verdict is None:
            return Outcome.REFUSED
        return self.verdict.outcome if self.withheld is None else Outcome.WITHHELD

    @property
    def door(self) -> Door:
        """Exit code for this adapter alone."""
        return OUTCOME_DOORS[self.outcome]

    @property
    def deciding(self) -> RuleResult | None:
        """The rule that decided; None for PASS and REFUSED."""
        return None if self.verdict is None else self.verdict.deciding

    @property
    def reason(self) -> str:
        """Why it was not admitted; empty for PASS."""
        stopped = self.refusal or self.withheld
        if stopped is not None:
            return f"{stopped.where}: {stopped.message}" if stopped.where else stopped.message
        return "" if self.deciding is None else self.deciding.explanation

    @property
    def isolation(self) -> str | None:
        """Name of the isolation level that the sandbox showed; None when it was never started for this adapter."""
        level = None if self.attestation is None else self.attestation.get("level")
        return IsolationLevel(level).name.lower() if isinstance(level, int) else None

    @property
    def next_step(self) -> str:
        """The one next command or action; empty for PASS."""
        stopped = self.refusal or self.withheld
        if stopped is not None:
            return stopped.next_step
        return "" if self.deciding is None else next_step(self.deciding, self)


@dataclass(frozen=True, slots=True)
class Reason:
    """One check of the gate that does not hold."""

    check: str
    message: str
    reached: bool
    """False: it builds on another check that failed, so nothing is known."""


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """What the gate says of one adapter."""

    adapter: str
    source: str
    door: Door
    certificate: Certificate | None
    check: str | None
    """The first check that failed; None when all hold."""
    message: str
    next_step: str
    reasons: tuple[Reason, ...] = ()
    """Every check that failed or could not be made, the first included; empty when all hold."""


@dataclass(frozen=True, slots=True)
class InspectionReport:
    """What can be read of a source without loading anything."""

    source: str
    kind: str
    """What it is, in a few words: ``PEFT adapter (LORA)``, ``full model``, ..."""
    artifact: Artifact
    observations: tuple[Observation, ...]


def next_step(result: RuleResult, report: CertificationReport) -> str:
    """The rule's next step: ``{source}`` stands for the adapter, quoted for a shell, ``{artifact}`` for its digest."""
    digest = "" if report.artifact is None else report.artifact.digest
    return result.next_step.replace("{artifact}", digest).replace("{source}", shlex.quote(report.source))
