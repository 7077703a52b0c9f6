"""`verify`: would the gate admit it now, and if not, every reason. Offline, without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from peft_assay.core.artifact import Artifact
from peft_assay.core.certificate import Certificate
from peft_assay.core.context import Lengths
from peft_assay.core.errors import Door, IntakeError
from peft_assay.gate.authorize import explain
from peft_assay.gate.interface import Check, Denial, State
from peft_assay.intake.admit import admit
from peft_assay.intake.interface import WHOLE
from peft_assay.pipeline.deployment import Clock, Deployment
from peft_assay.pipeline.evidence import attempts_in, certificate_in, differences, gather
from peft_assay.pipeline.sources import Located, names_of


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
    attempts: int | None = None
    """The number of attempts in the certificate; without one, in the workspace."""
    lengths: Lengths | None = None
    """The longest prompt and answer that it may be served with; None when the gate denies."""
    list_until: datetime | None = None
    """The end of the revocation list that admits it, which may come before the certificate's; None when the gate
    denies.
    """


def verify(deployment: Deployment, sources: Sequence[Located], *, clock: Clock) -> tuple[Verification, ...]:
    """One result for each source. Raises TrustError for a workspace or clock that went back."""
    deployment.look(clock())
    names = names_of(sources)
    return tuple(_verify(deployment, source, name, clock) for source, name in zip(sources, names, strict=True))


def _verify(deployment: Deployment, source: Located, name: str, clock: Clock) -> Verification:
    try:
        admitted = admit(source.found(), hold=WHOLE)
    except IntakeError as refusal:
        return Verification(name, source.shown, Door.REFUSED, refusal=refusal)
    evidence = gather(deployment, admitted.artifact, admitted.files, None)
    checks = explain(evidence, deployment.anchor, clock())
    failed = [check for check in checks if check.state is State.FAILED]
    if not failed:
        lock = evidence.lock.digest
        envelope = deployment.workspace.certificates(admitted.artifact.digest, lock)[0]
        certificate = certificate_in(deployment, envelope)
        attempts = attempts_in(deployment, envelope)
        seen = [deployment.record_of(evidence.observations[digest]).observations for digest in certificate.observations]
        lengths = evidence.lock.lengths(lambda term: next((o.value for s in seen if (o := s.get(term))), None))
        return Verification(
            name,
            source.shown,
            Door.PASSED,
            None,
            admitted.artifact,
            checks,
            certificate,
            attempts=attempts,
            lengths=lengths,
            list_until=_list_until(deployment),
        )
    door = Door.TRUST if any(check.denial is Denial.TRUST for check in failed) else Door.DENIED
    return Verification(
        name,
        source.shown,
        door,
        None,
        admitted.artifact,
        checks,
        None,
        differences(deployment, evidence),
        deployment.workspace.attempts(admitted.artifact.digest),
    )


def _list_until(deployment: Deployment) -> datetime | None:
    """Return until when the newest revocation list is fresh, by its own end and by the anchor's limit."""
    record = deployment.revocations()
    if record is None:
        return None
    return min(record.list.not_after, record.list.issued_at + deployment.anchor.revocation_maximum_age)
