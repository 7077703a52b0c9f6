"""What renderers are given. All text in these values may be hostile; renderers show it through `report.sink` only."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from peft_assay.core.artifact import Artifact
from peft_assay.core.certificate import Certificate
from peft_assay.core.commands import Options, command, with_options
from peft_assay.core.context import Lengths, Lock
from peft_assay.core.digest import Digest
from peft_assay.core.errors import Door
from peft_assay.core.observation import Observation, ObservationSet, Value
from peft_assay.core.rights import Lineage
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.core.suite import Measure, ScorerKind
from peft_assay.core.verdict import OUTCOME_DOORS, Outcome, RuleResult, Verdict
from peft_assay.core.waiver import Waiver


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
class Unshown:
    """A suite whose answers are neither stored nor shown, because it is not public."""

    suite: str
    confidentiality: str
    failed: tuple[str, ...]
    """Ids of the cases that the adapter failed, of those it was asked."""


class Stage(StrEnum):
    """The stage at which an adapter ended before any rule was evaluated."""

    INTAKE = "intake"
    OBSERVATION = "observation"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason why intake made no artifact of the source, why it could not be observed or judged, or why the
    authority does not certify a passed adapter.
    """

    message: str
    where: str | None
    next_step: str
    stage: Stage = Stage.INTAKE


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
    alias: str | None = None
    """The alias that peft-assay.yaml declares for the source."""
    withheld: Refusal | None = None
    """The reason why a passed adapter is not certified: a hold, or a refusal by the gate."""
    parameters: Mapping[str, Value] | None = None
    """The policy's parameters as it names them, ``params.floor``: thresholds to draw."""
    attestation: Mapping[str, Any] | None = None
    """The sandbox's own statement of what was in force."""
    samples: tuple[Sample, ...] = ()
    unshown: tuple[Unshown, ...] = ()
    """Suites of which no sample can be shown."""
    certificate: Certificate | None = None
    attempts: int = 1
    """How often this artifact was observed in this context, this time included."""
    verify_commands: tuple[str, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    """Those that the verdict stands on."""
    reused: bool = False
    """The observations are an earlier attempt's, made under the same conditions: nothing was run for them."""
    options: Options = field(default_factory=dict)
    """Where to act, as the user said it: next commands say it again."""

    def __post_init__(self) -> None:
        judged = (self.verdict, self.observations, self.artifact, self.lock)
        if any((part is None) != (self.refusal is not None) for part in judged):
            raise ValueError("a report has a verdict with its observations, artifact and lock, or a refusal")
        waived = () if self.verdict is None else tuple(result.waiver for result in self.verdict.waived)
        if {waiver.envelope for waiver in self.waivers} != set(waived):
            raise ValueError("a report shows exactly the waivers that its verdict stands on")
        if self.certificate is not None and self.outcome is not Outcome.PASS:
            raise ValueError("only what passed has a certificate")

    @property
    def outcome(self) -> Outcome:
        """Return the verdict's outcome; where there is none, REFUSED by intake, or INDETERMINATE."""
        if self.verdict is None:
            refused = self.refusal is None or self.refusal.stage is Stage.INTAKE
            return Outcome.REFUSED if refused else Outcome.INDETERMINATE
        return self.verdict.outcome if self.withheld is None else Outcome.WITHHELD

    @property
    def door(self) -> Door:
        """Exit code for this adapter alone."""
        unusable = (self.attestation or {}).get("unusable") is not None
        if self.outcome is Outcome.INDETERMINATE and (self.verdict is None or unusable):
            return Door.UNOBSERVED
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
        """The one next command or action; empty for what is certified."""
        stopped = self.refusal or self.withheld
        if stopped is not None:
            return with_options(stopped.next_step, self.options)
        if self.deciding is None:
            certify = command("certify", self.source, self.options)
            return "" if self.certificate is not None else f"certify it in today's context: {certify}"
        return next_step(self.deciding, self)


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case of a public suite with what the adapter answered (hostile), for exports."""

    id: str
    prompt: str | Sequence[Mapping[str, str]]
    choices: tuple[str, ...]
    target: str
    """What was expected; empty where the scorer expects no particular text."""
    text: str
    scores: tuple[float, ...]
    """Log-likelihoods of the choices, or logits of the labels; empty for generated text."""
    passed: bool


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What one suite measured, for exports; its cases only where the suite is public and still the one observed."""

    id: str
    version: str
    digest: Digest
    measure: Measure
    scorer: ScorerKind
    max_new_tokens: int
    n: int
    passes: int
    lower: float
    upper: float
    """Exact one-sided 95 % bounds of the pass rate."""
    cases: tuple[CaseResult, ...] = ()


@dataclass(frozen=True, slots=True)
class BillEntry:
    """One judged adapter as a bill of materials lists it."""

    report: CertificationReport
    """With a verdict: what intake refused is no component."""
    lineage: Lineage
    """The adapter's node first, as it is declared now."""
    cleared: frozenset[str]
    """Grants that stand on a clearance in force."""
    base_files: Digest
    """Digest of the manifest of the base that is served."""
    observation: Digest
    """Envelope of the observations."""
    policy_id: str
    package: str | None = None
    """Package URL, where the source is a repository at a commit."""


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
    attempts: int | None = None
    """The number of attempts in the certificate; without one, in the workspace. None where it is not known."""
    lengths: Lengths | None = None
    """The longest prompt and answer that it may be served with; None when the gate denies."""
    list_until: datetime | None = None
    """The end of the revocation list that admits it; None when the gate denies."""
    renewal: str = ""
    """The command that signs that list anew."""


class Severity(StrEnum):
    """How much a finding weighs before anybody wrote a policy."""

    BLOCK = "block"
    """The default policy refuses an adapter of which this is true."""
    LOOK = "look"
    """May be right; somebody should know before it is used."""
    UNSTATED = "unstated"
    """Nobody said, or it could not be measured: nothing is known, for or against."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a finding is: a file of the adapter, and what in it (a field, a tensor, a module)."""

    file: str
    """Empty where no file is to blame."""
    field: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about an adapter, with its place and the next step."""

    rule: str
    """A name of the vocabulary, or ``source.kind``."""
    severity: Severity
    message: str
    """Our sentence, then what was seen (hostile)."""
    spots: tuple[Spot, ...]
    """Most telling first; empty where the finding is about what is not there."""
    next_step: str
    implied: tuple[str, ...] = ()
    """Names of the vocabulary that are not so, or were not measured, for the same reason."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What an adapter says of itself, as it says it (hostile); None or empty where it says nothing."""

    peft_type: str | None = None
    base: str | None = None
    numbers: tuple[tuple[str, str], ...] = ()
    """Sizes in the configuration's own words: ``("r", "8")``."""
    targets: tuple[str, ...] = ()
    tensors: int | None = None
    """In the weights; None where they were not read."""
    modules: int | None = None
    """Those that a LoRA adapts; None where the weights were not read, or adapt none in LoRA's way."""
    parameters: int | None = None
    licence: str | None = None
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InspectionReport:
    """What can be read of a source without loading anything."""

    source: str
    kind: str
    """What it is, in a few words: ``a PEFT adapter``, ``a full model, not an adapter``, ..."""
    artifact: Artifact
    observations: tuple[Observation, ...]
    declared: Declared = Declared()
    obstacle: str = ""
    """Why PEFT cannot read it as it is; empty for an adapter."""
    remedy: str = ""
    """What to do about the obstacle."""
    pages: Mapping[str, str] = field(default_factory=dict)
    """Name of the vocabulary to the id of the probe that observes it: its page in docs/probes."""
    archive: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A source that intake refused, among others or where the format has a place for it."""

    source: str
    refusal: Refusal


Inspected = InspectionReport | Refused


@dataclass(frozen=True, slots=True)
class Discovered:
    """One adapter, or what looks like one, where somebody keeps it: only beginnings of its files were read."""

    path: str
    """As a next command can name it."""
    kind: str
    """In a few words, as `InspectionReport.kind`; for an archive that it was not opened."""
    usable: bool
    """Whether it is an adapter that PEFT reads, as far as can be seen at a glance."""
    peft_type: str | None
    base: str | None
    size: int
    """Bytes."""
    files: int
    remarks: tuple[str, ...]
    """What is wrong at a glance, worst first."""
    repository: str | None = None
    """In a Hugging Face cache: ``org/name`` of the Hub."""
    commit: str | None = None
    references: tuple[str, ...] = ()
    """Branches that point at the commit, in the cache."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was found below some places, and how far the walk came."""

    places: tuple[str, ...]
    found: tuple[Discovered, ...]
    folders: int
    """Folders that were looked into."""
    unread: tuple[str, ...]
    """Folders that could not be opened."""
    stopped: str | None
    """The limit at which the walk ended; None when it came to its end."""
    shallow: int
    """Folders too deep to be looked into."""


def next_step(result: RuleResult, report: CertificationReport) -> str:
    """The rule's next step: ``{source}`` stands for the adapter, quoted for a shell, ``{artifact}`` for its digest."""
    digest = "" if report.artifact is None else report.artifact.digest
    step = with_options(result.next_step, report.options)
    return step.replace("{artifact}", digest).replace("{source}", shlex.quote(report.source))
