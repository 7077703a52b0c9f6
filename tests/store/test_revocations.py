"""The local transport gives back the newest list that it was given, and none before the first."""

from datetime import UTC, datetime
from pathlib import Path

from peft_assay.store.ledger import Kind
from peft_assay.store.revocations import LocalRevocations
from peft_assay.store.workspace import Workspace

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_the_newest_list_with_its_ledger_entry(tmp_path: Path) -> None:
    with Workspace.open(tmp_path, create=True) as workspace:
        transport = LocalRevocations(workspace)
        assert transport.newest() is None
        for sequence in (1, 2):
            transport.publish(b"list %d" % sequence, sequence=sequence, issued_at=NOW, at=NOW)
        assert transport.newest() == b"list 2"
        assert [entry.kind for entry in workspace.history()] == [Kind.REVOKED, Kind.REVOKED]
