"""The local transport of revocation lists: rows of the workspace, beside their ledger entries."""

from dataclasses import dataclass
from datetime import datetime

from peft_assay.store.workspace import Workspace


@dataclass(frozen=True, slots=True)
class LocalRevocations:
    """A `core.protocols.RevocationTransport` over one workspace."""

    workspace: Workspace

    def newest(self) -> bytes | None:
        """Envelope of the list with the highest sequence; raises TrustError when its bytes were altered."""
        return self.workspace.newest_revocation_list()

    def publish(self, envelope: bytes, *, sequence: int, issued_at: datetime, at: datetime) -> None:
        """Keeps the list and its ledger entry in one transaction."""
        self.workspace.add_revocation_list(envelope, sequence=sequence, issued_at=issued_at, at=at)
