"""Where an act takes place: a project, its workspace, and the invoker's trust anchor. One object, opened once."""

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from peft_assay.certify.revoke import next_list
from peft_assay.core.certificate import RevocationList
from peft_assay.core.digest import Digest
from peft_assay.core.errors import StorageError, TrustError
from peft_assay.core.protocols import RevocationTransport, Sealer
from peft_assay.core.statement import OBSERVATION
from peft_assay.intake.fetching import Tell
from peft_assay.pipeline.lists import Next, RevocationLists
from peft_assay.pipeline.notary import check_attested, notary_of, witness_of
from peft_assay.pipeline.place import Place
from peft_assay.pipeline.project import Project, load_project, quiet
from peft_assay.store.revocations import LocalRevocations
from peft_assay.store.workspace import DATABASE, FOLDER, Workspace
from peft_assay.trust.anchor import TrustAnchor, TrustAnchorLocation, find_anchor, load_anchor
from peft_assay.trust.envelope import open_envelope
from peft_assay.trust.highwater import HighWater, Mark
from peft_assay.trust.keyrecords import KeyRecords
from peft_assay.trust.observations import ObservationRecord, observation_record_of
from peft_assay.trust.revocations import RevocationRecord
from peft_assay.trust.roles import Role
from peft_assay.trust.sealer import load_sealer

Clock = Callable[[], datetime]
RECORDS = "authority"
"""Folder of the anchor's state with the records of authority keys."""
REFRESH_AFTER = timedelta(days=1)
"""Age from which certifying signs the revocation list anew, so that ordinary use keeps it fresh; where the trust anchor
asks for younger lists, half of its limit."""


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
    def open(cls, place: Place, *, create: bool = False, reading: bool = False, tell: Tell = quiet) -> Self:
        """Reads the project, finds the anchor, opens the workspace; with `create` makes it, and tells so.

        With `reading`, a workspace that this user may not write is read as it is now, and nothing is recorded in it.

        Raises DocumentError, UsageError, TrustError, StorageError; a workspace that is not there is a StorageError.
        """
        path = place.context_path()
        project = load_project(path, tell)
        holder = (place.workspace or path.parent).absolute()
        location = find_anchor(place.trust, judged=path.parent)
        find_anchor(place.trust, judged=holder / ".peft-assay")
        anchor = load_anchor(location)
        made = not (holder / FOLDER / DATABASE).is_file()
        if made and not create and not (holder / FOLDER).is_symlink():
            raise StorageError("there is no workspace here", where=str(holder / FOLDER), next_step=_where_else(place))
        notary, witness = notary_of(location, anchor), witness_of(anchor)
        workspace = Workspace.open(holder, create=create, notary=notary, witness=witness, reading=reading)
        opened = cls(project, workspace, location, anchor, LocalRevocations(workspace), place)
        kept = workspace.folder
        if workspace.snapshot is not None:
            tell(f"{kept} may only be read: nothing is recorded there; this host's marks are in {location.state}")
        if made:
            tell(f"made a new workspace, {kept}: certificates of another workspace do not count here, withdrawals do")
        elif create and opened.revocations() is None:
            tell(f"{kept} has no revocation list yet: the first certificate begins one, with nothing withdrawn")
        return opened

    def again(self) -> Self:
        """Return the same place opened anew: anchor, workspace and lists as they are now, the project as it
        was read.
        """
        reading = self.workspace.snapshot is not None
        workspace = Workspace.open(self.workspace.folder.parent, create=False, reading=reading)
        anchor = load_anchor(self.location)
        return replace(self, workspace=workspace, anchor=anchor, transport=LocalRevocations(workspace))

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
        """Return how old the oldest observation under a certificate may be: the gate takes the stricter of the two
        limits.
        """
        return min(self.anchor.maximum_age, self.project.context.maximum_age)

    def record_of(self, envelope: bytes) -> ObservationRecord:
        """The observation record in `envelope`, signed by a pinned sandbox key; raises TrustError."""
        statement = open_envelope(envelope, self.anchor.keys_of(Role.SANDBOX), predicate_type=OBSERVATION)
        return observation_record_of(statement)

    def observed(self, artifact: Digest, conditions: Digest) -> ObservationRecord | None:
        """Return the newest observations of `artifact` under `conditions`; raises TrustError for others in
        their place.
        """
        envelope = self.workspace.latest_observations(artifact, conditions)
        if envelope is None:
            return None
        record = self.record_of(envelope)
        if (record.artifact.digest, record.observations.conditions) != (artifact, conditions):
            where = f"observation {record.envelope}"
            raise TrustError("it is filed under another adapter or other conditions than it is about", where=where)
        return record

    @property
    def lists(self) -> RevocationLists:
        """Return the revocation list of the pinned authority keys, as this host and this workspace know it."""
        keyids = [key.keyid for key in self.anchor.keys_of(Role.AUTHORITY)]
        records = KeyRecords(self.location.state / RECORDS, keyids)
        return RevocationLists(records, self.transport, self.workspace.blobs, self.anchor)

    def revocations(self) -> RevocationRecord | None:
        """Return the newest revocation list as verified, or None when there is none."""
        return self.lists.newest()

    def fresh_revocations(self, now: datetime) -> RevocationList:
        """Return the newest list, signed anew when it is absent, no longer young (`REFRESH_AFTER`) or not
        carried here.
        """
        record = self.revocations()
        until = min(REFRESH_AFTER, self.anchor.revocation_maximum_age / 2)
        if record is None or now - record.list.issued_at > until or not self.lists.carried(record):
            record = self.publish(self.refreshed(now), now)
        return record.list

    def refreshed(self, now: datetime) -> Next:
        """Sign the list anew, with only the entries of the other lists added."""
        sealer = self.sealer(Role.AUTHORITY)
        return lambda previous, others: next_list(previous, merge=others, now=now, sealer=sealer)

    def publish(self, following: Next, now: datetime) -> RevocationRecord:
        """Sign and keep the list that continues all known lists, and return it as verified."""
        return self.lists.publish(following, self._marked(), at=now)

    def mark(self) -> Mark | None:
        """The workspace's high-water mark on this host."""
        return HighWater(self.location.state).read(self.workspace.id)

    def _marked(self) -> Digest | None:
        mark = self.mark()
        return None if mark is None else mark.list

    def begin(self, now: datetime) -> None:
        """Run `raise_mark` for an act that signs for the authority: it first merges lists that stand beside
        each other.
        """
        if self.lists.heads(self._marked()).beside:
            check_attested(self.workspace.id, self.workspace.audit(), self.anchor, self.mark())
            self.publish(self.refreshed(now), now)
        self.raise_mark(now)

    def look(self, now: datetime) -> None:
        """Run `raise_mark` for an act that only reads: records that this user cannot write are compared and left."""
        self.raise_mark(now, reading=True)

    def raise_mark(self, now: datetime, *, reading: bool = False) -> None:
        """Run the one check that every act begins with: the whole workspace, its lists and the clock.

        The ledger is recomputed and held against tables, documents and its signed checkpoint; all of it against the
        marks that this host remembers. Raises TrustError for entries that were altered, appended without a key, left
        out or put back, and for lists that do not continue one another.
        """
        marks = HighWater(self.location.state)
        with self.lists.settled(self._marked(), reading=reading) as record:

            def look() -> Mark:
                audited = self.workspace.audit()
                attested = check_attested(self.workspace.id, audited, self.anchor, self.mark())
                sequence, newest = (0, None) if record is None else (record.list.sequence, record.list.envelope)
                return Mark(sequence, audited.entries, audited.root, now, newest, attested)

            place, identity = self.workspace.folder, self.workspace.id
            marks.look_and_raise(identity, look, self.workspace.root_at, place=place, reading=reading)


def pinned_sealer(location: TrustAnchorLocation, anchor: TrustAnchor, role: Role) -> Sealer:
    """Return the signing key of `role` beside the anchor, which must pin it; raises TrustError."""
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
