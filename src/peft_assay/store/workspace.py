"""The workspace: blobs and database as one, written so that a process killed at any point leaves a valid store.

Blobs are durable before a row refers to them; a row and its ledger entry are one transaction. What the tables say is an
index: whoever decides anything proves it again from signed bytes.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, insert, select

from peft_assay.core.artifact import Artifact, manifest_of
from peft_assay.core.certificate import Activation
from peft_assay.core.digest import Digest, parse_digest, sha256
from peft_assay.core.errors import DocumentError, StorageError, TrustError, UsageError
from peft_assay.core.parse import parse_json
from peft_assay.core.verdict import Outcome, Verdict
from peft_assay.store import index, ledger
from peft_assay.store.audit import Audit, Since, audit, since
from peft_assay.store.blobs import LocalBlobs
from peft_assay.store.database import WRITE, migrate, open_engine
from peft_assay.store.errors import storage_errors
from peft_assay.store.ledger import Attest, Entry, Kind, spell
from peft_assay.store.schema import workspace
from peft_assay.store.snapshot import only_readable, remove, snapshot

Notary = Callable[[str, int, Digest], bytes | None]
"""Signs the size and root of a workspace's ledger; None where no key is at hand."""
Witness = Callable[[str, Since], None]
"""Check of the entries appended to a workspace's ledger since it was last read whole; raises TrustError."""
FOLDER = ".peft-assay"
DATABASE = "assay.db"


@dataclass(frozen=True, slots=True)
class Workspace:
    """An open workspace; a context manager."""

    folder: Path
    id: str
    """Random, made with the database: how high-water marks know this workspace."""
    blobs: LocalBlobs
    engine: Engine
    attest: Attest | None = None
    """Signs the ledger's size and root with each entry; None where no key is at hand, as where adapters are served."""
    witness: Witness | None = None
    """The check before each entry: entries that another process appended meanwhile must be signed, because this entry's
    checkpoint signs them too."""
    seen: list[tuple[int, Digest]] = field(default_factory=list, compare=False)
    """Size and root of the ledger when this process last read it whole or wrote it; empty before that."""
    snapshot: Path | None = None
    """The copy of the database that is read instead, where the workspace may only be read; removed on closing."""

    @classmethod
    def open(
        cls,
        project: Path,
        *,
        create: bool = False,
        url: str | None = None,
        notary: Notary | None = None,
        witness: Witness | None = None,
        reading: bool = False,
    ) -> Self:
        """Opens ``project/.peft-assay``, migrating an older schema; `notary` signs for this workspace, by its id.

        With `reading`, a workspace that this user may not write is read from a private copy of its database.

        Raises StorageError when there is none (and `create` is false), when the database is not one, is another
        program's or was written by a newer version.
        """
        folder = project / FOLDER
        with storage_errors(folder):
            if create:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder.is_symlink():
                raise StorageError(
                    "a workspace is a folder of its own, not a link to one",
                    where=str(folder),
                    next_step="name the folder that holds the real one with --workspace DIR",
                )
            if not (folder / DATABASE).is_file() and not create and url is None:
                raise StorageError(
                    "there is no workspace here", where=str(folder), next_step="peft-assay init makes one"
                )
        copied = snapshot(folder / DATABASE) if reading and url is None and only_readable(folder / DATABASE) else None
        engine = open_engine(url or f"sqlite:///{copied or (folder / DATABASE).absolute()}")
        try:
            with storage_errors(folder / DATABASE), _transaction(engine, write=True) as connection:
                migrate(connection)
                identity = _identity(connection)
        except BaseException:
            engine.dispose()
            remove(copied)
            raise
        attest = None if notary is None else partial(notary, identity)
        return cls(folder, identity, LocalBlobs(folder / "blobs"), engine, attest, witness, snapshot=copied)

    def close(self) -> None:
        """Closes the database."""
        self.engine.dispose()
        remove(self.snapshot)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def admit(self, artifact: Artifact, *, source: str, at: datetime) -> None:
        """Keeps an admitted artifact whose files are in the quarantine already: its manifest, then the rows.

        Raises UsageError when a file is not there.
        """
        for file in artifact.files:
            if not self.blobs.has(file.sha256):
                raise UsageError("a file that the manifest lists is not in quarantine", where=file.path)
        self.blobs.put(artifact.manifest_bytes())
        name = _storable(source)
        what = {"artifact": artifact.digest, "source": sha256(name.encode())}
        with self._writing() as connection:
            seq = self._append(connection, Kind.ADMITTED, at, what)
            index.add_artifact(connection, artifact.digest, name, at, seq)

    def refuse(self, *, source: str, code: str, at: datetime) -> None:
        """Records that intake refused `source`; `code` is a short identifier, never prose."""
        self._record(Kind.REFUSED, at, {"source": sha256(_storable(source).encode()), "code": code})

    def record_attempt(
        self, *, artifact: Digest, lock: Digest, conditions: Digest, policy: Digest, at: datetime
    ) -> int:
        """Records an attempt durably, before the run; gives its number within (artifact, lock), from 1."""
        with self._writing() as connection:
            what = {"artifact": artifact, "lock": lock, "conditions": conditions, "policy": policy}
            self._append(connection, Kind.ATTEMPT, at, what)
            return index.count_attempts(connection, artifact, lock)

    def attempts(self, artifact: Digest, lock: Digest | None = None) -> int:
        """How often `artifact` was tried: under `lock`, or under any."""
        with self._reading() as connection:
            return index.count_attempts(connection, artifact, lock)

    def add_observations(
        self, envelope: bytes, *, artifact: Digest, conditions: Digest, observed_at: datetime, at: datetime
    ) -> Digest:
        """Keeps a signed observation set; gives the envelope's digest."""
        digest = self.blobs.put(envelope)
        row = {"envelope": digest, "artifact": artifact, "conditions": conditions, "observed_at": spell(observed_at)}
        with self._writing() as connection:
            seq = self._append(connection, Kind.OBSERVED, at, row)
            index.add_observations(connection, row, seq)
        return digest

    def keep_answers(self, envelope: bytes, *, subject: Digest, conditions: Digest, at: datetime) -> Digest:
        """Keeps signed answers of a model; gives the envelope's digest."""
        digest = self.blobs.put(envelope)
        self._record(Kind.ANSWERED, at, {"subject": subject, "conditions": conditions, "envelope": digest})
        return digest

    def answers(self, subject: Digest, conditions: Digest) -> bytes | None:
        """The answers last kept for (subject, conditions), or None; raises TrustError when altered."""
        with self._reading() as connection:
            said = [
                entry.happened for entry in ledger.entries(connection, Kind.ANSWERED) if entry.kind is Kind.ANSWERED
            ]
        mine = [what["envelope"] for what in said if (what["subject"], what["conditions"]) == (subject, conditions)]
        return self.blobs.get(parse_digest(mine[-1])) if mine else None

    def latest_observations(self, artifact: Digest, conditions: Digest) -> bytes | None:
        """The newest observation envelope recorded for (artifact, conditions); raises TrustError when altered."""
        with self._reading() as connection:
            digest = index.newest_observations(connection, artifact, conditions)
        return None if digest is None else self.blobs.get(digest)

    def newest_observations(self) -> Iterator[bytes]:
        """The newest observation envelope of each artifact and conditions; raises TrustError when altered."""
        with self._reading() as connection:
            digests = index.newest_of_each(connection)
        yield from map(self.blobs.get, digests)

    def record_verdict(self, verdict: Verdict, *, policy: bytes, observations: Digest, at: datetime) -> None:
        """Records the policy's answer, of whatever outcome, with what it takes to come to it again.

        `policy` is the document as written, `observations` the envelope that was judged; the waivers that count are
        those that the verdict names.
        """
        waivers = [result.waiver for result in verdict.waived]
        grounds = {"policy": self.blobs.put(policy), "observations": observations, "waivers": waivers}
        self._record(Kind.VERDICT, at, {**_verdict(verdict), "results": verdict.digest, "grounds": grounds})

    def record_denial(self, verdict: Verdict, *, at: datetime) -> None:
        """Records that nothing was certified: the ledger's, and never a signed statement's, to say."""
        if verdict.outcome is Outcome.PASS:
            raise UsageError("a verdict that passes is not a denial")
        self._record(Kind.DENIED, at, _verdict(verdict))

    def certify(
        self,
        envelope: bytes,
        *,
        artifact: Digest,
        lock: Digest,
        policy: Digest,
        issued_at: datetime,
        not_after: datetime,
        at: datetime,
    ) -> Digest:
        """Keeps a certificate: its bytes first, then its row and its ledger entry at once; gives its digest."""
        digest = self.blobs.put(envelope)
        row = {
            "envelope": digest,
            "artifact": artifact,
            "lock": lock,
            "policy": policy,
            "issued_at": spell(issued_at),
            "not_after": spell(not_after),
        }
        with self._writing() as connection:
            seq = self._append(connection, Kind.CERTIFIED, at, row)
            index.add_certificate(connection, row, seq)
        return digest

    def certificates(self, artifact: Digest, lock: Digest) -> tuple[bytes, ...]:
        """All certificate envelopes for (artifact, lock), newest first.

        Raises TrustError when one is altered or absent, or when the table and the ledger tell different stories: a
        withdrawn certificate must not vanish from beside its successors.
        """
        with self._reading() as connection:
            digests = index.certificates_of(connection, artifact, lock)
        return tuple(self.blobs.get(digest) for digest in digests)

    def certified_locks(self, artifact: Digest) -> tuple[Digest, ...]:
        """Contexts for which there are certificates of `artifact`; an index, for messages."""
        with self._reading() as connection:
            return index.certified_locks(connection, artifact)

    def certified_from(self, source: str) -> tuple[Digest, ...]:
        """Certified artifacts that were admitted from `source`; an index, for messages."""
        with self._reading() as connection:
            return index.certified_from(connection, _storable(source))

    def add_revocation_list(self, envelope: bytes, *, sequence: int, issued_at: datetime, at: datetime) -> Digest:
        """Keeps a revocation list; raises StorageError when its sequence is taken."""
        digest = self.blobs.put(envelope)
        row = {"envelope": digest, "sequence": sequence, "issued_at": spell(issued_at)}
        with self._writing() as connection:
            seq = self._append(connection, Kind.REVOKED, at, row)
            index.add_revocation_list(connection, row, seq)
        return digest

    def newest_revocation_list(self) -> bytes | None:
        """The revocation list with the highest sequence, or None; raises TrustError when altered."""
        with self._reading() as connection:
            digest = index.newest_revocation_list(connection)
        return None if digest is None else self.blobs.get(digest)

    def record_lift(self, *, revocation: Digest, revocation_list: Digest, at: datetime) -> None:
        """Records that a list took the entry with this id out of force."""
        self._record(Kind.LIFTED, at, {"revocation": revocation, "list": revocation_list})

    def record_activation(self, activation: Activation, *, at: datetime) -> None:
        """Record a permission of the gate; unsigned, because hosts that serve adapters should hold no key."""
        with self._writing() as connection:
            ledger.append(connection, Kind.ACTIVATED, at, _activation(activation))

    def adopt_rights(self, document: bytes, envelope: bytes, *, artifact: Digest, at: datetime) -> Digest:
        """Keep the rights snapshot that `artifact` is judged by; the files it lists are blobs already.

        `envelope` is the signed statement that it was adopted.
        """
        digest = self.blobs.put(document)
        what = {"artifact": artifact, "snapshot": digest, "envelope": self.blobs.put(envelope)}
        self._record(Kind.RIGHTS, at, what)
        return digest

    def rights_snapshots(self, artifact: Digest) -> tuple[bytes | Digest, ...]:
        """Return the signed adoptions of snapshots for `artifact`, oldest first; of earlier versions the snapshot's
        digest.

        Raises TrustError when one is altered.
        """
        return tuple(
            self.blobs.get(parse_digest(what["envelope"])) if "envelope" in what else parse_digest(what["snapshot"])
            for what in self._acts(Kind.RIGHTS, artifact)
        )

    def add_clearance(self, envelope: bytes, *, artifact: Digest, at: datetime) -> Digest:
        """Keeps a signed clearance; gives the envelope's digest."""
        return self._decide(Kind.CLEARED, envelope, artifact, at)

    def withdraw_clearance(self, digest: Digest, *, artifact: Digest, at: datetime) -> None:
        """Takes a clearance out of force, for good."""
        self._record(Kind.UNCLEARED, at, {"artifact": artifact, "envelope": digest})

    def clearances(self, artifact: Digest) -> tuple[bytes, ...]:
        """Clearance envelopes of `artifact` that were not withdrawn, oldest first; raises TrustError when altered."""
        return self._standing(Kind.CLEARED, Kind.UNCLEARED, artifact)

    def add_waiver(self, envelope: bytes, *, artifact: Digest, at: datetime) -> Digest:
        """Keeps a signed waiver; gives the envelope's digest."""
        return self._decide(Kind.WAIVED, envelope, artifact, at)

    def withdraw_waiver(self, digest: Digest, *, artifact: Digest, at: datetime) -> None:
        """Takes a waiver out of force, for good."""
        self._record(Kind.UNWAIVED, at, {"artifact": artifact, "envelope": digest})

    def waivers(self, artifact: Digest | None = None) -> tuple[bytes, ...]:
        """Waiver envelopes of `artifact`, or all, that were not withdrawn, oldest first.

        Raises TrustError when one is altered.
        """
        return self._standing(Kind.WAIVED, Kind.UNWAIVED, artifact)

    def _decide(self, kind: Kind, envelope: bytes, artifact: Digest, at: datetime) -> Digest:
        digest = self.blobs.put(envelope)
        self._record(kind, at, {"artifact": artifact, "envelope": digest})
        return digest

    def _standing(self, given: Kind, taken: Kind, artifact: Digest | None) -> tuple[bytes, ...]:
        withdrawn = {what["envelope"] for what in self._acts(taken, artifact)}
        kept = dict.fromkeys(what["envelope"] for what in self._acts(given, artifact))
        return tuple(self.blobs.get(parse_digest(digest)) for digest in kept if digest not in withdrawn)

    def _acts(self, kind: Kind, artifact: Digest | None) -> list[Mapping[str, Any]]:
        with self._reading() as connection:
            said = [entry for entry in ledger.entries(connection, kind) if entry.kind is kind]
        return [entry.happened for entry in said if artifact in (None, entry.happened["artifact"])]

    def artifact(self, digest: Digest) -> Artifact | None:
        """The admitted artifact with this digest, or None; raises TrustError when its manifest was altered."""
        with self._reading() as connection:
            if not index.was_admitted(connection, digest):
                return None
        where = f"manifest {digest}"
        try:
            return manifest_of(parse_json(self.blobs.get(digest), where=where))
        except (DocumentError, ValueError) as error:
            raise TrustError(f"not a manifest: {error}", where=where) from None

    def admitted_from(self, source: str) -> tuple[Digest, ...]:
        """Artifacts admitted from `source`, newest first, each once."""
        with self._reading() as connection:
            return index.admitted_from(connection, _storable(source))

    def source_of(self, artifact: Digest) -> str | None:
        """Where the artifact was last admitted from, as the user named it; for messages, it identifies nothing."""
        with self._reading() as connection:
            return index.source_of(connection, artifact)

    def sources(self) -> dict[Digest, str]:
        """Where each artifact was last admitted from, as users named it; for messages, it identifies nothing."""
        with self._reading() as connection:
            return index.sources(connection)

    def files(self, artifact: Artifact) -> dict[str, bytes]:
        """The artifact's files by path, every byte hashed again; raises TrustError when one is absent or altered."""
        return {file.path: self.blobs.get(file.sha256) for file in artifact.files}

    def history(self) -> tuple[Entry, ...]:
        """All entries, recomputed from their bytes; raises TrustError when one was altered or removed."""
        with self._reading() as connection:
            return tuple(ledger.entries(connection))

    def ledger_size(self) -> int:
        """How many entries the ledger has."""
        with self._reading() as connection:
            return ledger.size(connection)

    def root_at(self, count: int) -> Digest:
        """Merkle root of the ledger's first `count` entries."""
        with self._reading() as connection:
            return ledger.root_at(connection, count)

    def newest_checkpoint(self) -> tuple[int, bytes] | None:
        """Return the last entry that carries a signed checkpoint, and the checkpoint; None where no entry does."""
        with self._reading() as connection:
            return ledger.newest_checkpoint(connection)

    def audit(self) -> Audit:
        """Recomputes everything from bytes; raises TrustError naming the first thing that is not in order."""
        with self._reading() as connection:
            found = audit(connection, self.blobs)
        self.seen[:] = [(found.entries, found.root)]
        return found

    def _record(self, kind: Kind, at: datetime, what: Mapping[str, Any]) -> None:
        with self._writing() as connection:
            self._append(connection, kind, at, what)

    def _append(self, connection: Connection, kind: Kind, at: datetime, what: Mapping[str, Any]) -> int:
        return ledger.append(connection, kind, at, what, self.attest)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """Yield a connection that alone may write. Entries that were appended or changed since this process last read
        the ledger are checked first: the checkpoint of the next entry signs all entries before it.
        """
        after = None
        with storage_errors(self.folder / DATABASE), _transaction(self.engine, write=True) as connection:
            self._look(connection)
            yield connection
            if self.seen:
                self._look(connection)  # a trigger that another writer left may have written entries too
                size = ledger.size(connection)
                after = size, ledger.root_at(connection, size)
        if after is not None:
            self.seen[:] = [after]

    def _look(self, connection: Connection) -> None:
        if self.seen and self.witness is not None:
            self.witness(self.id, since(connection, *self.seen[0]))

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with storage_errors(self.folder / DATABASE), _transaction(self.engine, write=False) as connection:
            yield connection


@contextmanager
def _transaction(engine: Engine, *, write: bool) -> Iterator[Connection]:
    with engine.connect().execution_options(**{WRITE: write}) as connection, connection.begin():
        yield connection


def _identity(connection: Connection) -> str:
    found = connection.execute(select(workspace.c.id)).scalar_one_or_none()
    if found is None:
        found = secrets.token_hex(16)
        connection.execute(insert(workspace).values(id=found))
    return str(found)


def _storable(source: str) -> str:
    """`source` as a database can hold it: a file name that is not Unicode carries lone surrogates."""
    return source.encode("utf-8", "backslashreplace").decode()


def _verdict(verdict: Verdict) -> dict[str, Any]:
    deciding = verdict.deciding
    return {
        "artifact": verdict.artifact,
        "lock": verdict.lock,
        "policy": verdict.policy,
        "outcome": verdict.outcome.value,
        "rule": None if deciding is None else sha256(deciding.rule.encode()),
    }


def _activation(activation: Activation) -> dict[str, Any]:
    return {
        "artifact": activation.artifact,
        "certificate": activation.certificate,
        "lock": activation.lock,
        "notAfter": spell(activation.not_after),
        "process": activation.process_id,
    }
