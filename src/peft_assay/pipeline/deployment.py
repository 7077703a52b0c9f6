"""Where an act takes place: a project, its workspace, and the invoker's trust anchor. One object, opened once."""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from peft_assay.certify.revoke import next_list
from peft_assay.core.certificate import RevocationList
from peft_assay.core.errors import StorageError, TrustError
from peft_assay.core.protocols import RevocationTransport, Sealer
from peft_assay.core.statement import OBSERVATION, REVOCATIONS
from peft_assay.intake.fetching import Tell
from peft_assay.pipeline.place import Place
from peft_assay.pipeline.project import Project, load_project, quiet
from peft_assay.store.revocations import LocalRevocations
from peft_assay.store.workspace import DATABASE, FOLDER, Workspace
from peft_assay.trust.anchor import TrustAnchor, TrustAnchorLocation, find_anchor, load_anchor
from peft_assay.trust.envelope import open_envelope
from peft_assay.trust.highwater import HighWater, Mark
from peft_assay.trust.observations import ObservationRecord, observation_record_of
from peft_assay.trust.revocations import RevocationRecord, revocation_record_of
from peft_assay.trust.roles import Role
from peft_assay.trust.sealer import load_sealer

Clock = Callable[[], datetime]
REFRESH_AFTER = timedelta(days=1)
"""Age from which certifying signs the revocation list anew, so that ordinary use keeps it fresh; where the trust anchor
wants younger lists, half of what it allows."""


def utc_now() -> datetime:
    """The host's clock, in UTC and whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Deployment:
    """An opened place; a context manager."""

    project: Project
    workspace: Workspace
    location: TrustAnchorLocation
    anchor: TrustAnchor
    transport: RevocationTransport
    place: Place
    """As the invoker said it."""

    @classmethod
    def open(cls, place: Place, *, create: bool = False, tell: Tell = quiet) -> Self:
        """Reads the project, finds the anchor, opens the workspace; with `create` makes it, and tells so.

        Raises DocumentError, UsageError, TrustError, StorageError; a workspace that is not there is a StorageError.
        """
        path = place.context_path()
        project = load_project(path)
        holder = (place.workspace or path.parent).absolute()
        location = find_anchor(place.trust, judged=path.parent)
        find_anchor(place.trust, judged=holder / ".peft-assay")
        anchor = load_anchor(location)
        made = not (holder / FOLDER / DATABASE).is_file()
        if made and not create and not (holder / FOLDER).is_symlink():
            raise StorageError("there is no workspace here", where=str(holder / FOLDER), next_step=_where_else(place))
        workspace = Workspace.open(holder, create=create)
        opened = cls(project, workspace, location, anchor, LocalRevocations(workspace), place)
        kept = workspace.folder
        if made:
            tell(f"made a new workspace, {kept}: what another one certified or withdrew does not count here")
        elif create and opened.transport.newest() is None:
            tell(f"{kept} has no revocation list yet: the first certificate begins one, with nothing withdrawn")
        return opened

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.workspace.close()

    def sealer(self, role: Role) -> Sealer:
        """The signing key of `role`, which must be one that the anchor pins."""
        return pinned_sealer(self.location, self.anchor, role)

    @property
    def maximum_age(self) -> timedelta:
        """How old the oldest observation under a certificate may be: the gate takes the stricter of the two."""
        return min(self.anchor.maximum_age, self.project.context.maximum_age)

    def record_of(self, envelope: bytes) -> ObservationRecord:
        """The observation record in `envelope`, signed by a pinned sandbox key; raises TrustError."""
        statement = open_envelope(envelope, self.anchor.keys_of(Role.SANDBOX), predicate_type=OBSERVATION)
        return observation_record_of(statement)

    def revocations(self) -> RevocationRecord | None:
        """The newest revocation list as verified, or None when there is none."""
        envelope = self.transport.newest()
        if envelope is None:
            return None
        statement = open_envelope(envelope, self.anchor.keys_of(Role.AUTHORITY), predicate_type=REVOCATIONS)
        return revocation_record_of(statement, self.anchor.keys_of(Role.APPROVER))

    def fresh_revocations(self, now: datetime) -> RevocationList:
        """The newest list, signed anew when it is absent or no longer young (`REFRESH_AFTER`)."""
        record = self.revocations()
        until = min(REFRESH_AFTER, self.anchor.revocation_maximum_age / 2)
        if record is None or now - record.list.issued_at > until:
            record = self.publish(next_list(record, now=now, sealer=self.sealer(Role.AUTHORITY)), now)
        return record.list

    def publish(self, envelope: bytes, now: datetime) -> RevocationRecord:
        """Stores a list that was just signed and gives it as verified."""
        statement = open_envelope(envelope, self.anchor.keys_of(Role.AUTHORITY), predicate_type=REVOCATIONS)
        record = revocation_record_of(statement, self.anchor.keys_of(Role.APPROVER))
        self.transport.publish(envelope, sequence=record.list.sequence, issued_at=record.list.issued_at, at=now)
        return record

    def mark(self) -> Mark | None:
        """The workspace's high-water mark on this host."""
        return HighWater(self.location.state).read(self.workspace.id)

    def raise_mark(self, now: datetime) -> None:
        """Checks the workspace and the clock against the mark and raises it; raises TrustError on a rollback."""

        def look() -> Mark:
            record = self.revocations()
            size = self.workspace.ledger_size()
            return Mark(0 if record is None else record.list.sequence, size, self.workspace.root_at(size), now)

        marks = HighWater(self.location.state)
        marks.look_and_raise(self.workspace.id, look, self.workspace.root_at, place=self.workspace.folder)


def pinned_sealer(location: TrustAnchorLocation, anchor: TrustAnchor, role: Role) -> Sealer:
    """The signing key of `role` beside the anchor, which must be one that it pins; raises TrustError."""
    sealer = load_sealer(location.folder / "keys", role)
    if sealer.keyid not in {key.keyid for key in anchor.keys_of(role)}:
        raise TrustError(
            f"the key of role {role.value} at hand is not one that the trust anchor pins",
            where=str(location.folder / "keys"),
            next_step="pin its id in trust.yaml, or use the key that is pinned",
        )
    return sealer


def _where_else(place: Place) -> str:
    """The next step of somebody whose workspace is not where they say."""
    own = place.context_path().parent
    if place.workspace is not None and (own / FOLDER / DATABASE).is_file():
        return f"leave --workspace out: the project's own is {own / FOLDER}"
    within = "" if own == Path.cwd() else f" {shlex.quote(str(own))}"
    return f"name the folder that holds it with --workspace DIR, or make one: peft-assay init{within}"


def process_id() -> int:
    """The process that an activation is for."""
    return os.getpid()
