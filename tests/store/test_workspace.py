"""The workspace keeps what it was given, finds it again, and refuses what is not a workspace."""

import sqlite3
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from peft_assay.core.artifact import Artifact, File
from peft_assay.core.certificate import Activation
from peft_assay.core.digest import Digest, hex_of, sha256
from peft_assay.core.errors import Door, StorageError, TrustError, UsageError
from peft_assay.core.verdict import Outcome, RuleResult, Verdict
from peft_assay.store import database, ledger
from peft_assay.store.blobs import LocalBlobs
from peft_assay.store.errors import storage_errors
from peft_assay.store.ledger import Kind
from peft_assay.store.merkle import leaf_hash, root
from peft_assay.store.schema import metadata
from peft_assay.store.workspace import Workspace

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
A, L, C, P = (sha256(name.encode()) for name in "alcp")
FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"w"}
ARTIFACT = Artifact(tuple(File(path, len(content), sha256(content)) for path, content in sorted(FILES.items())))


@pytest.fixture
def workspace(tmp_path: Path):
    with Workspace.open(tmp_path, create=True) as workspace:
        yield workspace


def attempt(workspace: Workspace, artifact: Digest = A, lock: Digest = L) -> int:
    return workspace.record_attempt(artifact=artifact, lock=lock, conditions=C, policy=P, at=NOW)


def certify(workspace: Workspace, envelope: bytes, artifact: Digest = A, lock: Digest = L) -> Digest:
    return workspace.certify(
        envelope, artifact=artifact, lock=lock, policy=P, issued_at=NOW, not_after=NOW + HOUR, at=NOW
    )


def verdict(outcome: Outcome) -> Verdict:
    return Verdict(A, L, P, (RuleResult("a rule in words", outcome, "x", "secret prompt text", {}, ""),))


def test_reopened_it_is_the_same(tmp_path: Path) -> None:
    with Workspace.open(tmp_path, create=True) as first:
        attempt(first)
        identity, top = first.id, first.root_at(1)
    for create in (False, True):
        with Workspace.open(tmp_path, create=create) as again:
            assert (again.id, again.ledger_size(), again.root_at(1)) == (identity, 1, top)
    assert stat.S_IMODE((tmp_path / ".peft-assay").stat().st_mode) == 0o700
    with Workspace.open(tmp_path / "other", create=True) as other:
        assert other.id != identity


def test_durable_settings(workspace: Workspace) -> None:
    with workspace.engine.connect() as connection:
        found = [
            connection.exec_driver_sql(f"pragma {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert found == ["wal", 2, 1]


def test_migrations_make_the_tables_that_the_code_uses(workspace: Workspace) -> None:
    with workspace.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_what_is_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no workspace") as error:
        Workspace.open(tmp_path)
    assert error.value.next_step == "peft-assay init makes one"
    assert error.value.door is Door.STORAGE
    assert list(tmp_path.iterdir()) == []
    path = tmp_path / ".peft-assay" / "assay.db"
    path.parent.mkdir()
    path.write_bytes(b"this is not a database, whatever its name" * 99)
    with pytest.raises(StorageError, match="not a database") as refused:
        Workspace.open(tmp_path)
    assert "put the whole .peft-assay folder back from a copy" in (refused.value.next_step or "")
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("create table somebody_elses (x)")
    connection.close()
    with pytest.raises(StorageError, match="another program"):
        Workspace.open(tmp_path, create=True)


def test_written_by_a_newer_version(tmp_path: Path) -> None:
    Workspace.open(tmp_path, create=True).close()
    with sqlite3.connect(tmp_path / ".peft-assay" / "assay.db") as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    connection.close()
    with pytest.raises(StorageError, match=r"newer version of peft-assay \(schema 9999\)") as error:
        Workspace.open(tmp_path)
    assert error.value.next_step == "upgrade peft-assay"


def test_the_newest_revision_is_the_one_that_alembic_knows() -> None:
    assert ScriptDirectory(str(database._MIGRATIONS)).get_current_head() == database.HEAD


def test_a_database_that_cannot_be_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise CommandError("multiple heads")

    monkeypatch.setattr(command, "upgrade", refuses)
    with pytest.raises(StorageError, match="cannot be brought up to date: multiple heads"):
        Workspace.open(tmp_path, create=True)


def test_an_older_database_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Workspace.open(tmp_path, create=True).close()
    asked = []
    monkeypatch.setattr(command, "upgrade", lambda _, target: asked.append(target))
    Workspace.open(tmp_path).close()
    assert asked == [], "it is up to date"
    monkeypatch.setattr(database, "HEAD", "of tomorrow")
    Workspace.open(tmp_path).close()
    assert asked == ["head"]


def test_urls(tmp_path: Path) -> None:
    place = tmp_path / "elsewhere.db"
    with Workspace.open(tmp_path / "p", create=True, url=f"sqlite:///{place}") as workspace:
        attempt(workspace)
    assert place.is_file()
    for url, says in (("postgresql://user:secret@localhost/x", "only SQLite"), ("nonsense", "not a database URL")):
        with pytest.raises(UsageError, match=says) as error:
            Workspace.open(tmp_path / "p", create=True, url=url)
        assert "secret" not in str(error.value)


def test_a_workspace_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / ".peft-assay").write_text("")
    with pytest.raises(StorageError):
        Workspace.open(tmp_path, create=True)


def test_attempts_are_counted_for_artifact_and_lock(workspace: Workspace) -> None:
    assert [attempt(workspace), attempt(workspace), attempt(workspace, lock=C)] == [1, 2, 1]
    assert workspace.attempts(A, L) == 2
    assert workspace.attempts(A) == 3
    assert workspace.attempts(C, L) == 0


def quarantined(workspace: Workspace) -> Workspace:
    for content in FILES.values():
        workspace.blobs.put(content)
    return workspace


def test_artifacts(workspace: Workspace) -> None:
    assert workspace.artifact(ARTIFACT.digest) is None
    for _ in range(2):
        quarantined(workspace).admit(ARTIFACT, source="hub:some one/adapter \udcff", at=NOW)
    assert workspace.artifact(ARTIFACT.digest) == ARTIFACT
    assert workspace.files(ARTIFACT) == FILES
    assert workspace.admitted_from("hub:some one/adapter \udcff") == (ARTIFACT.digest,)
    assert workspace.admitted_from("another") == ()
    assert workspace.source_of(ARTIFACT.digest) == "hub:some one/adapter \\udcff"
    assert workspace.source_of(A) is None
    workspace.refuse(source="a b", code="path-escape", at=NOW)
    assert [entry.kind for entry in workspace.history()] == [Kind.ADMITTED, Kind.ADMITTED, Kind.REFUSED]


def test_an_artifact_whose_files_are_not_in_quarantine_is_not_kept(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="not in quarantine"):
        workspace.admit(ARTIFACT, source="x", at=NOW)
    assert workspace.artifact(ARTIFACT.digest) is None


def test_observations(workspace: Workspace) -> None:
    assert workspace.latest_observations(A, C) is None
    for content, hours in ((b"newest", 2), (b"older", 1), (b"other conditions", 3)):
        conditions = P if content == b"other conditions" else C
        workspace.add_observations(content, artifact=A, conditions=conditions, observed_at=NOW + hours * HOUR, at=NOW)
    assert workspace.latest_observations(A, C) == b"newest"
    assert workspace.latest_observations(A, P) == b"other conditions"


def test_certificates(workspace: Workspace) -> None:
    assert workspace.certificates(A, L) == ()
    quarantined(workspace).admit(ARTIFACT, source="s", at=NOW)
    assert workspace.certified_from("s") == ()
    digests = [certify(workspace, content) for content in (b"first", b"second")]
    certify(workspace, b"elsewhere", lock=C)
    certify(workspace, b"real", artifact=ARTIFACT.digest)
    assert digests == [sha256(b"first"), sha256(b"second")]
    assert workspace.certificates(A, L) == (b"second", b"first")
    assert workspace.certified_locks(A) == tuple(sorted((L, C)))
    assert workspace.certified_from("s") == (ARTIFACT.digest,)
    with pytest.raises(StorageError):
        certify(workspace, b"first")
    assert len(workspace.history()) == 5


def test_revocation_lists(workspace: Workspace) -> None:
    assert workspace.newest_revocation_list() is None
    for sequence in (1, 3, 2):
        workspace.add_revocation_list(b"list %d" % sequence, sequence=sequence, issued_at=NOW, at=NOW)
    assert workspace.newest_revocation_list() == b"list 3"
    with pytest.raises(StorageError):
        workspace.add_revocation_list(b"another 3", sequence=3, issued_at=NOW, at=NOW)
    assert workspace.newest_revocation_list() == b"list 3"
    assert workspace.ledger_size() == 3


def test_every_kind_of_entry_and_a_full_audit(workspace: Workspace) -> None:
    quarantined(workspace).admit(ARTIFACT, source="s", at=NOW)
    workspace.refuse(source="s", code="too-large", at=NOW)
    attempt(workspace)
    workspace.add_observations(b"o", artifact=A, conditions=C, observed_at=NOW, at=NOW)
    workspace.keep_answers(b"k", subject=A, conditions=C, at=NOW)
    workspace.record_verdict(verdict(Outcome.PASS), policy=b"policy", observations=sha256(b"observed"), at=NOW)
    workspace.record_denial(verdict(Outcome.FAIL), at=NOW)
    certify(workspace, b"c")
    workspace.add_revocation_list(b"l", sequence=1, issued_at=NOW, at=NOW)
    workspace.record_lift(revocation=A, revocation_list=L, at=NOW)
    activation = Activation(A, C, L, {}, NOW, NOW + HOUR, 4711)
    workspace.record_activation(activation, at=NOW)
    workspace.adopt_rights(b"{}", b"adopted", artifact=A, at=NOW)
    assert workspace.rights_snapshots(A) == (b"adopted",)
    workspace.withdraw_clearance(workspace.add_clearance(b"y", artifact=A, at=NOW), artifact=A, at=NOW)
    workspace.withdraw_waiver(workspace.add_waiver(b"w", artifact=A, at=NOW), artifact=A, at=NOW)
    history = workspace.history()
    assert {entry.kind for entry in history} == set(Kind)
    assert [entry.seq for entry in history] == list(range(1, 17))
    assert [leaf_hash(entry.body) for entry in history] == [entry.leaf for entry in history]
    top = Digest("sha256:" + root([entry.leaf for entry in history]).hex())
    audit = workspace.audit()
    assert (audit.entries, audit.root, audit.envelopes) == (16, top, 3)
    assert workspace.root_at(16) == top
    assert all(b"secret prompt text" not in entry.body and b"rule in words" not in entry.body for entry in history)
    with pytest.raises(UsageError, match="not a denial"):
        workspace.record_denial(verdict(Outcome.PASS), at=NOW)
    with pytest.raises(TrustError, match="fewer than 17"):
        workspace.root_at(17)


@pytest.mark.parametrize("prose", ["two words", "", "é", "x" * 129, "line\n", "<b>"])
def test_the_ledger_takes_no_prose(workspace: Workspace, prose: str) -> None:
    with pytest.raises(UsageError, match="never prose"):
        workspace.refuse(source="s", code=prose, at=NOW)
    with pytest.raises(UsageError, match="never prose"), workspace._writing() as connection:
        ledger.append(connection, Kind.DENIED, NOW, {"deep": [{"er": prose}]})
    assert workspace.ledger_size() == 0


def test_a_time_without_a_zone_is_refused(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="time zone"):
        workspace.refuse(source="s", code="x", at=NOW.replace(tzinfo=None))


def test_blobs(tmp_path: Path) -> None:
    blobs = LocalBlobs(tmp_path / "blobs")
    digest = blobs.put(b"content")
    path = tmp_path / "blobs" / "sha256" / hex_of(digest)[:2] / hex_of(digest)
    assert path.read_bytes() == b"content"
    assert stat.S_IMODE(path.stat().st_mode) == 0o444
    assert blobs.has(digest)
    assert blobs.put(b"content") == digest
    assert blobs.get(digest) == b"content"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert not blobs.has(A)
    with pytest.raises(TrustError, match="absent"):
        blobs.get(A)
    with pytest.raises(ValueError):
        blobs.get(Digest("sha256:../../etc/passwd"))


def test_a_blob_that_another_process_stored_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = LocalBlobs(tmp_path)
    digest = blobs.put(b"content")
    monkeypatch.setattr(LocalBlobs, "has", lambda *_: False)
    assert blobs.put(b"content") == digest


@pytest.mark.parametrize("code", [28, 13, 30, 5])
def test_a_disk_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    blobs = LocalBlobs(tmp_path)

    def refuse(_: int) -> None:
        raise OSError(code, "refused")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(StorageError, match="refused") as error:
        blobs.put(b"content")
    assert (error.value.next_step is None) == (code == 5)
    monkeypatch.undo()
    assert not blobs.has(sha256(b"content"))
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    blobs.put(b"content")


def test_a_full_database_says_so(tmp_path: Path, workspace: Workspace) -> None:
    with workspace.engine.connect() as connection:
        pages = connection.exec_driver_sql("pragma page_count").scalar()
    with pytest.raises(StorageError, match="full") as error, workspace._writing() as connection:
        connection.exec_driver_sql(f"pragma max_page_count = {pages}")
        for _ in range(2000):
            ledger.append(connection, Kind.REFUSED, NOW, {"code": "x" * 100})
    assert "disk space" in (error.value.next_step or "")
    with pytest.raises(StorageError, match="input/output"), storage_errors(tmp_path):
        raise OSError
    assert workspace.ledger_size() == 0


def test_answers_are_found_by_model_and_conditions(workspace: Workspace) -> None:
    workspace.keep_answers(b"first", subject=A, conditions=C, at=NOW)
    workspace.keep_answers(b"second", subject=A, conditions=C, at=NOW)
    workspace.keep_answers(b"other", subject=L, conditions=C, at=NOW)
    assert workspace.answers(A, C) == b"second"
    assert workspace.answers(L, C) == b"other"
    assert workspace.answers(A, L) is None
