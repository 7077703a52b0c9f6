"""Attacks on the store by somebody who can write its files: each is noticed, and left alone all is in order."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.digest import hex_of, sha256
from peft_assay.core.errors import TrustError
from peft_assay.store.merkle import leaf_hash
from peft_assay.store.workspace import Workspace
from peft_assay.trust.highwater import HighWater, Mark

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
A, L, C, P = (sha256(name.encode()) for name in "alcp")
TABLES = ["workspace", "ledger", "artifacts", "observations", "certificates", "revocation_lists"]


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path, create=True) as workspace:
        workspace.record_attempt(artifact=A, lock=L, conditions=C, policy=P, at=NOW)
        workspace.add_observations(b"observation", artifact=A, conditions=C, observed_at=NOW, at=NOW)
        for content in (b"first", b"second"):
            workspace.certify(
                content, artifact=A, lock=L, policy=P, issued_at=NOW, not_after=NOW + timedelta(1), at=NOW
            )
        workspace.add_revocation_list(b"list", sequence=1, issued_at=NOW, at=NOW)
        assert workspace.audit().entries == 5
        yield workspace


def tamper(workspace: Workspace, statement: str, *values: object) -> None:
    """Runs `statement` with all triggers dropped: the attacker owns the file."""
    with closing(sqlite3.connect(workspace.folder / "assay.db")) as connection:
        names = [name for (name,) in connection.execute("select name from sqlite_master where type = 'trigger'")]
        for name in names:
            connection.execute(f"drop trigger {name}")
        assert connection.execute(statement, values).rowcount > 0
        connection.commit()


@pytest.mark.parametrize("table", TABLES)
def test_rows_cannot_be_changed_or_removed_while_the_triggers_stand(workspace: Workspace, table: str) -> None:
    with closing(sqlite3.connect(workspace.folder / "assay.db")) as connection:
        if table == "artifacts":
            connection.execute("insert into artifacts values (1, 'd', 's', 't')")
        column = {"workspace": "id", "ledger": "at", "artifacts": "at"}.get(table, "envelope")
        for statement in (f"update {table} set {column} = 'x'", f"delete from {table}"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


@pytest.mark.parametrize(
    ("statement", "values", "says"),
    [
        ("update ledger set body = ? where seq = 1", [b"{}"], "not the ones that were hashed"),
        ("update ledger set body = ?, leaf = ? where seq = 1", [b"{}", leaf_hash(b"{}")], "not what its body says"),
        ("update ledger set body = ?, leaf = ? where seq = 1", [b"{", leaf_hash(b"{")], "not a ledger entry"),
        ("update ledger set at = '2020-01-01T00:00:00Z' where seq = 1", [], "not what its body says"),
        ("update ledger set kind = 'denied' where seq = 1", [], "not what its body says"),
        ("update ledger set seq = 99 where seq = 5", [], "an entry is missing"),
        ("delete from ledger where seq = 1", [], "an entry is missing"),
        ("delete from certificates where envelope = ?", [sha256(b"first")], "differ"),
        ("delete from observations", [], "differ"),
        ("delete from revocation_lists", [], "differ"),
        ("update certificates set envelope = ? where envelope = ?", [sha256(b"x"), sha256(b"first")], "differ"),
    ],
)
def test_the_audit_notices(workspace: Workspace, statement: str, values: list, says: str) -> None:
    workspace.audit()
    tamper(workspace, statement, *values)
    with pytest.raises(TrustError, match=says):
        workspace.audit()


def test_a_kind_of_entry_that_does_not_exist(workspace: Workspace) -> None:
    body = canonical_bytes({"seq": 1, "at": "2026-11-23T12:00:00Z", "kind": "forgiven", "what": {}})
    tamper(workspace, "update ledger set kind = 'forgiven', body = ?, leaf = ? where seq = 1", body, leaf_hash(body))
    with pytest.raises(TrustError, match="not a ledger entry"):
        workspace.history()


def test_a_withdrawn_certificate_does_not_vanish_from_beside_its_successor(workspace: Workspace) -> None:
    assert workspace.certificates(A, L) == (b"second", b"first")
    tamper(workspace, "delete from certificates where envelope = ?", sha256(b"first"))
    with pytest.raises(TrustError, match="certificates and ledger differ"):
        workspace.certificates(A, L)


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("delete from ledger where kind = 'attempt'", "missing"),
        ("update ledger set kind = 'refused' where kind = 'attempt'", "not what its body says"),
    ],
)
def test_failed_attempts_cannot_be_understated(workspace: Workspace, statement: str, says: str) -> None:
    assert workspace.attempts(A, L) == 1
    tamper(workspace, statement)
    for count in (lambda: workspace.attempts(A, L), workspace.audit):
        with pytest.raises(TrustError, match=says):
            count()


def test_a_body_exchanged_beside_its_old_hash_changes_the_root(workspace: Workspace) -> None:
    size = workspace.ledger_size()
    before = workspace.root_at(size)
    other = workspace.history()[0].body.replace(b"attempt", b"refused")
    tamper(workspace, "update ledger set body = ? where seq = 1", other)
    assert workspace.root_at(size) != before


@pytest.mark.parametrize(
    ("statement", "act"),
    [
        ("update ledger set body = 'text' where seq = 1", lambda w: w.root_at(1)),
        ("update ledger set body = 7 where seq = 1", lambda w: w.attempts(A)),
        ("update ledger set at = 7, kind = 8 where seq = 1", lambda w: w.history()),
        ("update observations set envelope = 7", lambda w: w.latest_observations(A, C)),
        ("update observations set envelope = 'sha256:../x'", lambda w: w.latest_observations(A, C)),
        ("update revocation_lists set envelope = x'ff'", lambda w: w.newest_revocation_list()),
        ("update certificates set lock = 'nonsense'", lambda w: w.certified_locks(A)),
        ("update certificates set envelope = 7 where envelope like '%'", lambda w: w.audit()),
    ],
)
def test_values_of_other_types_end_in_a_refusal(workspace: Workspace, statement: str, act) -> None:
    act(workspace)
    if "certificates set envelope" in statement:
        tamper(workspace, "delete from certificates where envelope = ?", sha256(b"first"))
    tamper(workspace, statement)
    with pytest.raises(TrustError):
        act(workspace)


def test_an_appended_entry_without_its_fields_ends_in_a_refusal_or_is_passed_over(workspace: Workspace) -> None:
    for seq, kind in ((6, "attempt"), (7, "certified")):
        body = canonical_bytes({"seq": seq, "at": "2026-11-23T12:00:00Z", "kind": kind, "what": {}})
        values = (seq, "2026-11-23T12:00:00Z", kind, body, leaf_hash(body))
        tamper(workspace, "insert into ledger values (?, ?, ?, ?, ?, null)", *values)
    assert workspace.attempts(A, L) == 1
    assert workspace.certificates(A, L) == (b"second", b"first")
    with pytest.raises(TrustError, match="differ"):
        workspace.audit()


def test_a_blob_that_is_no_manifest(workspace: Workspace) -> None:
    for content in (b"{}", b"{"):
        digest = workspace.blobs.put(content)
        tamper(workspace, "insert into artifacts values ((select count(*) + 1 from artifacts), ?, 's', 't')", digest)
        with pytest.raises(TrustError, match="not a manifest"):
            workspace.artifact(digest)


def test_certificate_row_and_ledger_label_removed_together(workspace: Workspace) -> None:
    tamper(workspace, "delete from certificates where envelope = ?", sha256(b"second"))
    tamper(workspace, "update ledger set kind = 'refused' where seq = 4")
    with pytest.raises(TrustError, match="not what its body says"):
        workspace.certificates(A, L)


@pytest.mark.parametrize("content", [b"first", b"observation", b"list"])
def test_altered_or_absent_blobs(workspace: Workspace, content: bytes) -> None:
    digest = sha256(content)
    path = workspace.folder / "blobs" / "sha256" / hex_of(digest)[:2] / hex_of(digest)
    path.chmod(0o644)
    path.write_bytes(content + b" altered")
    with pytest.raises(TrustError, match="altered"):
        workspace.blobs.get(digest)
    with pytest.raises(TrustError, match="altered"):
        workspace.blobs.put(content)
    with pytest.raises(TrustError, match="altered"):
        workspace.audit()
    path.unlink()
    with pytest.raises(TrustError, match="absent"):
        workspace.audit()
    assert workspace.blobs.put(content) == digest
    workspace.audit()


def test_a_link_in_a_blob_s_place_is_not_followed(workspace: Workspace, tmp_path: Path) -> None:
    digest = sha256(b"first")
    path = workspace.folder / "blobs" / "sha256" / hex_of(digest)[:2] / hex_of(digest)
    path.unlink()
    (tmp_path / "outside").write_bytes(b"first")
    path.symlink_to(tmp_path / "outside")
    assert not workspace.blobs.has(digest)
    for read in (workspace.blobs.get, workspace.blobs.check):
        with pytest.raises(TrustError, match="a link lies"):
            read(digest)


def test_a_whole_workspace_put_back_or_rewritten_shows_against_the_mark(workspace: Workspace, tmp_path: Path) -> None:
    water = HighWater(tmp_path / "state")

    def seen() -> Mark:
        size = workspace.ledger_size()
        return Mark(1, size, workspace.root_at(size), NOW)

    water.check_and_raise(workspace.id, seen(), workspace.root_at)
    workspace.record_attempt(artifact=A, lock=L, conditions=C, policy=P, at=NOW)
    water.check_and_raise(workspace.id, seen(), workspace.root_at)
    body = workspace.history()[0].body.replace(b'"attempt"', b'"denied" ')
    tamper(workspace, "update ledger set body = ?, leaf = ? where seq = 1", body, leaf_hash(body))
    with pytest.raises(TrustError, match="past is not the one"):
        water.check_and_raise(workspace.id, seen(), workspace.root_at)
    tamper(workspace, "delete from ledger where seq = 6")
    with pytest.raises(TrustError, match="5 entries; 6 have been seen"):
        water.check_and_raise(workspace.id, seen(), workspace.root_at)


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("observations", "observed_at", "2030-01-01T00:00:00Z"),
        ("certificates", "not_after", "2030-01-01T00:00:00Z"),
        ("certificates", "policy", L),
        ("revocation_lists", "issued_at", "2030-01-01T00:00:00Z"),
        ("revocation_lists", "sequence", 9),
    ],
)
def test_the_audit_notices_every_column(workspace: Workspace, table: str, column: str, value: object) -> None:
    workspace.audit()
    tamper(workspace, f"update {table} set {column} = ?", value)
    with pytest.raises(TrustError, match="differ"):
        workspace.audit()


def test_an_entry_that_names_no_document(workspace: Workspace) -> None:
    workspace.keep_answers(b"answers", subject=A, conditions=C, at=NOW)
    workspace.audit()
    body = workspace.history()[-1].body.replace(sha256(b"answers").encode(), b"nothing")
    tamper(workspace, "update ledger set body = ?, leaf = ? where seq = 6", body, leaf_hash(body))
    with pytest.raises(TrustError, match="names no document"):
        workspace.audit()


def test_each_entry_carries_what_the_notary_signs(tmp_path: Path) -> None:
    """Size and root of the ledger up to it; an activation is written where no key is, and carries none."""
    asked = []

    def notary(workspace: str, size: int, root) -> bytes | None:
        asked.append((workspace, size, root))
        return b"checkpoint %d" % size if size < 3 else None

    with Workspace.open(tmp_path, create=True, notary=notary) as workspace:
        assert workspace.audit().checkpoint is None
        for _ in range(3):
            workspace.record_attempt(artifact=A, lock=L, conditions=C, policy=P, at=NOW)
        assert asked == [(workspace.id, size, workspace.root_at(size)) for size in (1, 2, 3)]
        audit = workspace.audit()
        assert (audit.checkpoint, audit.attested, audit.attested_root) == (b"checkpoint 2", 2, workspace.root_at(2))
        assert [kind.value for kind in audit.unattested] == ["attempt"]
        tamper(workspace, "update ledger set checkpoint = 'text' where seq = 2")
        with pytest.raises(TrustError, match="not bytes"):
            workspace.audit()
