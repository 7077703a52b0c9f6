"""`rights show` and `rights clear`: what is known of an adapter's rights, and a person's signed decision on a gap."""

import shlex
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from peft_assay.core.content import content_of
from peft_assay.core.digest import Digest, parse_digest
from peft_assay.core.errors import UsageError
from peft_assay.core.rights import GRANTS, Answer, Clearance, Lineage, Node, NodeKind
from peft_assay.intake.admit import admit
from peft_assay.intake.fetching import Tell
from peft_assay.intake.interface import Admitted
from peft_assay.intake.metadata import is_repository
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.lineage import lineage
from peft_assay.observe.static.lineage_probe import in_force, settling, unknown_nodes
from peft_assay.pipeline.deployment import Clock, Deployment
from peft_assay.pipeline.project import Standing, declared_sources
from peft_assay.pipeline.standing import certified_origin, clearances_of, observed_subject
from peft_assay.store.ledger import Kind
from peft_assay.trust.clearances import clearance_document, open_clearance
from peft_assay.trust.roles import Role

LONGEST = timedelta(days=366)
"""A legal decision that nobody looks at for longer than a year is not one."""


@dataclass(frozen=True, slots=True)
class RightsView:
    """All that is known of one artifact's rights now."""

    name: str
    named: str
    """As it was asked for."""
    artifact: Digest
    lineage: Lineage
    standing: Standing
    in_force: dict[str, Clearance]
    """Clearances that hold now, by grant."""

    def answer(self, grant: str) -> Answer:
        """With clearances."""
        return Answer.YES if grant in self.in_force else self.lineage.answer(grant)

    def unknown(self) -> tuple[str, ...]:
        """Nodes whose licence is not known, and why."""
        return unknown_nodes(self.lineage)

    def commands(self) -> tuple[str, ...]:
        """One command for each grant that is not known, after the one that asks where somebody could be asked.

        Where commercial use is refused, the one for whoever holds another licence comes first.
        """
        named = shlex.quote(self.named)
        settle = tuple(settling(named, grant) for grant in GRANTS if self.answer(grant) is Answer.UNKNOWN)
        if self.answer("commercial") is Answer.NO:
            return (f"{settling(named, 'commercial')} --although-refused", *settle)
        unasked = self.standing.snapshot is None and any(_can_be_asked(node) for node in self.lineage.deciding())
        return (f"peft-assay rights snapshot {named}", *settle) if settle and unasked else settle


def _can_be_asked(node: Node) -> bool:
    return node.kind is not NodeKind.ADAPTER and node.licence is None and is_repository(node.id)


def subject_of(deployment: Deployment, named: str, *, now: datetime, tell: Tell) -> tuple[Standing, StaticSubject]:
    """What `named` is: a source or alias, or the digest of an artifact that this workspace has admitted.

    Raises UsageError for a digest that it has not, IntakeError for a source that cannot become an artifact.
    """
    if not named.startswith("sha256:"):
        (source,) = declared_sources(deployment.project, [named], tell)
        return observed_subject(deployment, admit(source.found()), source.origin, now)
    try:
        digest = parse_digest(named)
    except ValueError as error:
        raise UsageError(str(error), where=named, next_step="name it by its folder, or by its full digest") from None
    artifact = deployment.workspace.artifact(digest)
    if artifact is None:
        raise UsageError("this workspace has not admitted it", where=named, next_step="peft-assay certify SOURCE")
    contents = {path: content_of(body) for path, body in deployment.workspace.files(artifact).items()}
    return observed_subject(deployment, Admitted(artifact, named, contents, {}), _last_origin(deployment, digest), now)


def _last_origin(deployment: Deployment, artifact: Digest) -> str | None:
    """Where it came from when it was last tried."""
    tried = [
        str(entry.happened.get("lock"))
        for entry in deployment.workspace.history()
        if entry.kind is Kind.ATTEMPT and entry.happened.get("artifact") == artifact
    ]
    try:
        return certified_origin(deployment.workspace, parse_digest(tried[-1])) if tried else None
    except ValueError:  # an attempt is unsigned: its content is no evidence
        return None


def show(deployment: Deployment, named: str, *, clock: Clock, tell: Tell) -> RightsView:
    """What is known of `named` now."""
    deployment.look(clock())
    standing, subject = subject_of(deployment, named, now=clock(), tell=tell)
    return _view(named, standing, subject)


def _view(named: str, standing: Standing, subject: StaticSubject) -> RightsView:
    found = lineage(subject)
    name = named if named.startswith("sha256:") else Path(named).name or named
    return RightsView(name, named, subject.artifact.digest, found, standing, in_force(subject.context, found))


def clear(
    deployment: Deployment,
    named: str,
    *,
    grant: str,
    reason: str,
    by: str,
    valid: timedelta,
    although_refused: bool,
    clock: Clock,
    tell: Tell,
) -> Clearance:
    """Signs and keeps a clearance of `grant` with the approver's key, on exactly what is claimed and known now.

    Raises UsageError for what needs none, for a licence that says no unless `although_refused`, and for a validity of
    nothing or of more than a year.
    """
    now = clock()
    deployment.raise_mark(now)
    _check(grant, reason, by, valid)
    standing, subject = subject_of(deployment, named, now=now, tell=tell)
    found = lineage(subject)
    answered = found.answer(grant)
    if answered is Answer.YES:
        raise UsageError(f"every licence declared permits it: {grant} needs no clearance", where=named)
    if answered is Answer.NO and not although_refused:
        refusing = ", ".join(node.key for node in found.nodes_saying(grant, Answer.NO))
        raise UsageError(
            f"{refusing} does not give {grant}: its licence says no",
            where=named,
            next_step="if you hold another licence for it, say so with --although-refused",
        )
    clearance = Clearance(
        subject.artifact.digest, grant, answered, found.digest, standing.snapshot, by, reason, now, now + valid
    )
    sealer = deployment.sealer(Role.APPROVER)
    envelope = sealer.seal(clearance_document(clearance))
    signed = open_clearance(envelope, deployment.anchor.keys_of(Role.APPROVER))
    deployment.workspace.add_clearance(envelope, artifact=subject.artifact.digest, at=now)
    deployment.raise_mark(now)
    return signed


def _check(grant: str, reason: str, by: str, valid: timedelta) -> None:
    if grant not in GRANTS:
        raise UsageError(f"{grant!r} is no grant", next_step=f"one of: {', '.join(GRANTS)}")
    if not reason.strip() or not by.strip():
        raise UsageError("a clearance has a reason and the name of who decided", next_step="--reason '...' --by '...'")
    if not timedelta(0) < valid <= LONGEST:
        raise UsageError(f"a clearance holds for at most {LONGEST.days} days", next_step="--valid 90d")


def withdraw(deployment: Deployment, clearance: str, artifact: Digest, *, clock: Clock) -> None:
    """Takes a clearance out of force: what was certified on it is certified for another context from now on.

    Raises UsageError when `artifact` has no such clearance.
    """
    now = clock()
    deployment.raise_mark(now)
    known = {found.envelope: found for found in clearances_of(deployment, artifact)}
    match = next((digest for digest in known if digest == clearance), None)
    if match is None:
        raise UsageError(
            "there is no such clearance in force", where=clearance, next_step="peft-assay rights show SOURCE"
        )
    deployment.workspace.withdraw_clearance(match, artifact=artifact, at=now)
    deployment.raise_mark(now)
