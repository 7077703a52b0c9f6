"""The workspace: blobs and database as one, written so that a process killed at any point leaves a valid store.

Blobs are durable before a row refers to them; a row and its ledger entry are one transaction. What the tables say is an
index: whoever decides anything proves it again from signed bytes.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, insert, select

from peft_assay.core.artifact import Artifact, manifest_of
from peft_assay.core.certificate import Activation
from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import StorageError, TrustError, UsageError
from peft_assay.core.parse import parse_json
from peft_assay.core.verdict import Outcome, Verdict
from peft_assay.store import ledger, schema
from peft_assay.store.blobs import LocalBlobs
from peft_assay.store.database import migrate, open_engine
from peft_assay.store.errors import storage_errors
from peft_assay.store.ledger import Entry, Kind, spell

FOLDER = ".peft-assay"
DATABASE = "assay.db"


@dataclass(frozen=True, slots=True)
class Audit:
    """What a full recomputation of the ledger found to be in order."""

    entries: int
    root: Digest
    certificates: int


@dataclass(frozen=True, slots=True)
class Workspace:
    """An open workspace; a context manager."""

    folder: Path
    id: str
    """Random, made with the database: how high-water marks know this workspace."""
    blobs: LocalBlobs
    engine: Engine

    @classmethod
    def open(cls, project: Path, *, create: bool = False, url: str | None = None) -> Self:
        """Opens ``project/.peft-assay``, migrating an older schema.

        Raises StorageError when there is none (and `create` is false), when the database is not one, is another
        program's or was written by a newer version.
        """
        folder = project / FOLDER
        with storage_errors(folder):
            if create:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not (folder / DATABASE).is_file() and not create and url is None:
                raise StorageError("there is no workspace here", where=str(folder), next_step="run peft-assay init")
        engine = open_engine(url or f"sqlite:///{(folder / DATABASE).absolute()}")
        try:
            with storage_errors(folder / DATABASE), engine.begin() as connection:
                migrate(connection)
                identity = _identity(connection)
        except BaseException:
            engine.dispose()
            raise
        return cls(folder, identity, LocalBlobs(folder / "blobs"), engine)

    def close(self) -> None:
        """Closes the database."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def admit(self, artifact: Artifact, files: Mapping[str, bytes], *, source: str, at: datetime) -> None:
        """Keeps an admitted artifact: all its files and its manifest as blobs, then the rows.

        Raises UsageError when `files` are not exactly the manifest's.
        """
        at_hand = {path: (len(content), sha256(content)) for path, content in files.items()}
        if at_hand != {file.path: (file.size, file.sha256) for file in artifact.files}:
            raise UsageError("the files are not the ones that the manifest lists")
        for content in (*files.values(), artifact.manifest_bytes()):
            self.blobs.put(content)
        what = {"artifact": artifact.digest, "source": sha256(source.encode())}
        with self._writing() as connection:
            seq = ledger.append(connection, Kind.ADMITTED, at, what)
            row = {"seq": seq, "digest": artifact.digest, "source": source, "at": spell(at)}
            connection.execute(insert(schema.artifacts).values(row))

    def refuse(self, *, source: str, code: str, at: datetime) -> None:
        """Records that intake refused `source`; `code` is a short identifier, never prose."""
        self._record(Kind.REFUSED, at, {"source": sha256(source.encode()), "code": code})

    def record_attempt(
        self, *, artifact: Digest, lock: Digest, conditions: Digest, policy: Digest, at: datetime
    ) -> int:
        """Records an attempt durably, before the run, and gives its number within (artifact, lock), from 1."""
        with self._writing() as connection:
            what = {"artifact": artifact, "lock": lock, "conditions": conditions, "policy": policy}
            ledger.append(connection, Kind.ATTEMPT, at, what)
            return _attempts(connection, artifact, lock)

    def attempts(self, artifact: Digest, lock: Digest | None = None) -> int:
        """How often `artifact` was tried: under `lock`, or under any."""
        with self._reading() as connection:
            return _attempts(connection, artifact, lock)

    def add_observations(
        self, envelope: bytes, *, artifact: Digest, conditions: Digest, observed_at: datetime, at: datetime
    ) -> Digest:
        """Keeps a signed observation set; gives the envelope's digest."""
        digest = self.blobs.put(envelope)
        row = {"envelope": digest, "artifact": artifact, "conditions": conditions, "observed_at": spell(observed_at)}
        with self._writing() as connection:
            seq = ledger.append(connection, Kind.OBSERVED, at, row)
            connection.execute(insert(schema.observations).values(row | {"seq": seq}))
        return digest

    def latest_observations(self, artifact: Digest, conditions: Digest) -> bytes | None:
        """The newest observation envelope recorded for (artifact, conditions); raises TrustError when altered."""
        table = schema.observations
        query = (
            select(table.c.envelope)
            .where(table.c.artifact == artifact, table.c.conditions == conditions)
            .order_by(table.c.observed_at.desc(), table.c.seq.desc())
            .limit(1)
        )
        with self._reading() as connection:
            digest = connection.execute(query).scalar_one_or_none()
        return None if digest is None else self.blobs.get(Digest(digest))

    def record_verdict(self, verdict: Verdict, *, at: datetime) -> None:
        """Records the policy's answer, of whatever outcome."""
        self._record(Kind.VERDICT, at, _verdict(verdict))

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
            seq = ledger.append(connection, Kind.CERTIFIED, at, row)
            connection.execute(insert(schema.certificates).values(row | {"seq": seq}))
        return digest

    def certificates(self, artifact: Digest, lock: Digest) -> tuple[bytes, ...]:
        """All certificate envelopes for (artifact, lock), newest first.

        Raises TrustError when one is altered or absent, or when the table and the ledger tell different stories: a
        withdrawn certificate must not vanish from beside its successors.
        """
        table = schema.certificates
        query = select(table.c.envelope).where(table.c.artifact == artifact, table.c.lock == lock)
        with self._reading() as connection:
            rows = list(connection.execute(query.order_by(table.c.seq.desc())).scalars())
            recorded = [
                entry.happened["envelope"]
                for entry in ledger.entries(connection, Kind.CERTIFIED)
                if (entry.happened["artifact"], entry.happened["lock"]) == (artifact, lock)
            ]
        if rows != recorded[::-1]:
            raise TrustError("certificates and ledger differ", where=str(self.folder / DATABASE))
        return tuple(self.blobs.get(Digest(digest)) for digest in rows)

    def certified_locks(self, artifact: Digest) -> tuple[Digest, ...]:
        """Contexts for which there are certificates of `artifact`; an index, for messages."""
        table = schema.certificates
        query = select(table.c.lock).where(table.c.artifact == artifact).distinct().order_by(table.c.lock)
        with self._reading() as connection:
            return tuple(Digest(lock) for lock in connection.execute(query).scalars())

    def certified_from(self, source: str) -> tuple[Digest, ...]:
        """Certified artifacts that were admitted from `source`; an index, for messages."""
        kept, certificates = schema.artifacts, schema.certificates
        query = (
            select(kept.c.digest)
            .where(kept.c.source == source, kept.c.digest.in_(select(certificates.c.artifact)))
            .distinct()
            .order_by(kept.c.digest)
        )
        with self._reading() as connection:
            return tuple(Digest(digest) for digest in connection.execute(query).scalars())

    def add_revocation_list(
        self, envelope: bytes, *, sequence: int, issued_at: datetime, at: datetime
    ) -> Digest:
        """Keeps a revocation list; raises StorageError when its sequence is taken."""
        digest = self.blobs.put(envelope)
        row = {"envelope": digest, "sequence": sequence, "issued_at": spell(issued_at)}
        with self._writing() as connection:
            seq = ledger.append(connection, Kind.REVOKED, at, row)
            connection.execute(insert(schema.revocation_lists).values(row | {"seq": seq}))
        return digest

    def newest_revocation_list(self) -> bytes | None:
        """The revocation list with the highest sequence, or None; raises TrustError when altered."""
        table = schema.revocation_lists
        with self._reading() as connection:
            query = select(table.c.envelope).order_by(table.c.sequence.desc()).limit(1)
            digest = connection.execute(query).scalar_one_or_none()
        return None if digest is None else self.blobs.get(Digest(digest))

    def record_lift(self, *, revocation: Digest, revocation_list: Digest, at: datetime) -> None:
        """Records that a list took the entry with this id out of force."""
        self._record(Kind.LIFTED, at, {"revocation": revocation, "list": revocation_list})

    def record_activation(self, activation: Activation, *, at: datetime) -> None:
        """Records a permission that the gate gave."""
        what = {
            "artifact": activation.artifact,
            "certificate": activation.certificate,
            "lock": activation.lock,
            "notAfter": spell(activation.not_after),
            "process": activation.process_id,
        }
        self._record(Kind.ACTIVATED, at, what)

    def artifact(self, digest: Digest) -> Artifact | None:
        """The admitted artifact with this digest, or None; raises TrustError when its manifest was altered."""
        with self._reading() as connection:
            query = select(schema.artifacts.c.seq).where(schema.artifacts.c.digest == digest).limit(1)
            if connection.execute(query).scalar_one_or_none() is None:
                return None
        return manifest_of(parse_json(self.blobs.get(digest), where=f"manifest {digest}"))

    def admitted_from(self, source: str) -> tuple[Digest, ...]:
        """Artifacts admitted from `source`, newest first, each once."""
        kept = schema.artifacts
        with self._reading() as connection:
            query = select(kept.c.digest).where(kept.c.source == source).order_by(kept.c.seq.desc())
            return tuple(dict.fromkeys(Digest(digest) for digest in connection.execute(query).scalars()))

    def files(self, artifact: Artifact) -> dict[str, bytes]:
        """The artifact's files by path, every byte hashed again; raises TrustError when one is absent or altered."""
        return {file.path: self.blobs.get(file.sha256) for file in artifact.files}

    def ledger(self) -> tuple[Entry, ...]:
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
