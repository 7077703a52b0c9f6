"""Rights snapshots: that the Hub was asked and said this, signed when an artifact is to be judged by it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peft_assay.core.digest import Digest, hex_of, parse_digest
from peft_assay.trust.envelope import open_envelope, statement_document
from peft_assay.trust.keys import PublicKey
from peft_assay.trust.roles import SNAPSHOT
from peft_assay.trust.times import format_time
from peft_assay.trust.wire import FullDigest, Instant, Wire, read_predicate


@dataclass(frozen=True, slots=True)
class AdoptedSnapshot:
    """A view of one verified adoption."""

    artifact: Digest
    snapshot: Digest
    """The digest of the manifest, which names every byte that was read."""
    at: datetime


class _Snapshot(Wire):
    snapshot: FullDigest
    at: Instant


def snapshot_statement(adopted: AdoptedSnapshot) -> dict[str, Any]:
    """Return the statement that a sandbox key seals; its subject is the artifact."""
    predicate = {"snapshot": adopted.snapshot, "at": format_time(adopted.at)}
    return statement_document("artifact", hex_of(adopted.artifact), SNAPSHOT, predicate)


def open_snapshot(
    envelope: bytes, sandboxes: Sequence[PublicKey], *, where: str = "rights snapshot"
) -> AdoptedSnapshot:
    """Return the adoption in `envelope`, signed by a pinned sandbox key; raises TrustError otherwise."""
    statement = open_envelope(envelope, sandboxes, predicate_type=SNAPSHOT, where=where)
    wire = read_predicate(_Snapshot, statement.predicate, where=where)
    return AdoptedSnapshot(statement.subject, parse_digest(wire.snapshot), wire.at)
