"""`verify`: would the gate admit it now, and if not, every reason. Offline, without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peft_assay.core.artifact import Artifact
from peft_assay.core.certificate import Certificate
from peft_assay.core.errors import Door, IntakeError
from peft_assay.gate.authorize import explain
from peft_assay.gate.interface import Check, Denial, State
from peft_assay.intake.admit import admit
from peft_assay.intake.interface import WHOLE
from peft_assay.pipeline.certify import names_of
from peft_assay.pipeline.deployment import Clock, Deployment
from peft_assay.pipeline.evidence import certificate_in, differences, gather


@dataclass(frozen=True, slots=True)
class Verification:
    """What the gate would say of one source."""

    name: str
    source: str
    door: Door
    refusal: IntakeError | None = None
    artifact: Artifact | None = None
    checks: tuple[Check, ...] = ()
    certificate: Certificate | None = None
    """The certificate that admits it; None when the gate denies."""
    differences: tuple[str, ...] = ()
    """Where the context now differs from the one that was certified."""


def verify(deployment: Deployment, sources: Sequence[Path], *, clock: Clock) -> tuple[Verification, ...]:
    """One result for each source. Raises TrustError for a workspace or clock that went back."""
    deployment.raise_mark(clock())
    names = names_of(sources)
    return tuple(_verify(deployment, source, name, clock) for source, name in zip(sources, names, strict=True))


def _verify(deployment: Deployment, source: Path, name: str, clock: Clock) -> Verification:
    try:
        admitted = admit(source, hold=WHOLE)
    except IntakeError as refusal:
        return Verification(name, str(source), Door.REFUSED, refusal=refusal)
    evidence = gather(deployment, admitted.artifact, admitted.files, None)
    checks = explain(evidence, deployment.anchor, clock())
    failed = [check for check in checks if check.state is State.FAILED]
    if not failed:
        lock = evidence.lock.digest
        certificate = certificate_in(deployment, deployment.workspace.certificates(admitted.artifact.digest, lock)[0])
        return Verification(name, str(source), Door.PASSED, None, admitted.artifact, checks, certificate)
    door = Door.TRUST if any(check.denial is Denial.TRUST for check in failed) else Door.DENIED
    return Verification(
        name, str(source), door, None, admitted.artifact, checks, None, differences(deployment, evidence)
    )
