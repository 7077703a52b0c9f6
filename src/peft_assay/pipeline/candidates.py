"""What came through intake and was looked at without being run: the adapters that a run may exercise."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from peft_assay.core.artifact import WEIGHTS_FILE, Artifact
from peft_assay.core.errors import IntakeError
from peft_assay.core.observation import Observation
from peft_assay.intake.admit import admit
from peft_assay.intake.interface import Admitted
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.static.beside import vocabulary_of
from peft_assay.observe.static.lineage import lineage
from peft_assay.observe.static.lineage_probe import in_force
from peft_assay.observe.static.tokenizer import tokens_of
from peft_assay.observe.static.weights import watch_weights
from peft_assay.observe.unsafe import why_unsafe
from peft_assay.pipeline.deployment import Clock, Deployment
from peft_assay.pipeline.project import Standing
from peft_assay.pipeline.sources import Located
from peft_assay.pipeline.standing import observed_subject
from peft_assay.pipeline.withdrawn import withdrawn_for


@dataclass(frozen=True, slots=True)
class Candidate:
    """One admitted adapter, with its static facts."""

    name: str
    source: str
    admitted: Admitted
    static: tuple[Observation, ...]
    unsafe: str | None
    """Why it must not be instantiated; None where it may."""
    vocabulary: int | None
    """Tokens once it is on; None where that is not known, or it changes none."""
    tokens: bytes
    """What it appends to the base's tokenizer, for the sandbox; empty where that is nothing."""
    standing: Standing
    cleared_until: datetime | None
    """When the first of the clearances that it stands on ends."""


def take_in(deployment: Deployment, source: Located, name: str, clock: Clock) -> Candidate:
    """Admits `source` to the quarantine and looks at it; raises IntakeError, which the ledger has then recorded."""
    try:
        admitted = admit(source.found(), watch=watch_weights, quarantine=deployment.workspace.blobs.draft)
    except IntakeError:
        deployment.workspace.refuse(source=source.shown, code="intake", at=clock())
        raise
    deployment.workspace.admit(admitted.artifact, source=source.shown, at=clock())
    standing, subject = observed_subject(deployment, admitted, source.origin, clock())
    withdrawn, weights = withdrawn_for(deployment, admitted.artifact), _weights_of(deployment, admitted.artifact)
    read = _reader(deployment, admitted.artifact)
    subject = replace(subject, context=replace(subject.context, withdrawn=withdrawn, weights=weights, read=read))
    static = observe_static(subject)
    clearances = in_force(subject.context, lineage(subject)).values()
    until = min((clearance.expires for clearance in clearances), default=None)
    return Candidate(
        name,
        source.shown,
        admitted,
        static,
        why_unsafe(static),
        vocabulary_of(subject),
        tokens_of(subject).document,
        standing,
        until,
    )


def _weights_of(deployment: Deployment, artifact: Artifact) -> Callable[[], bytes] | None:
    """Return a function that reads the weights file from the quarantine, and verifies it again."""
    file = artifact.file(WEIGHTS_FILE)
    return None if file is None else lambda: deployment.workspace.blobs.get(file.sha256)


def _reader(deployment: Deployment, artifact: Artifact) -> Callable[[str], bytes]:
    """Return a function that reads a file of the adapter from the quarantine, and verifies it again."""

    def read(path: str) -> bytes:
        file = artifact.file(path)
        return b"" if file is None else deployment.workspace.blobs.get(file.sha256)

    return read
