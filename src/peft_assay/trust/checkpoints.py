"""Checkpoints: size and root of a workspace's ledger, signed with each entry by its writer.

An attacker who can write the workspace and holds no key can append no entry that passes for signed: entries after the
last checkpoint are unsigned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest, hex_of, parse_digest
from peft_assay.core.errors import TrustError
from peft_assay.trust.envelope import open_envelope, statement_document
from peft_assay.trust.keys import PublicKey
from peft_assay.trust.roles import CHECKPOINT
from peft_assay.trust.wire import FullDigest, Wire, read_predicate


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A view of one verified checkpoint."""

    workspace: str
    size: int
    root: Digest


class _Checkpoint(Wire):
    workspace: str = Field(pattern=r"^[0-9a-f]{32}$")
    size: int = Field(ge=1)
    root: FullDigest


def checkpoint_document(checkpoint: Checkpoint) -> dict[str, Any]:
    """Return the statement to seal; its subject is the digest of its own predicate."""
    predicate = {"workspace": checkpoint.workspace, "size": checkpoint.size, "root": checkpoint.root}
    return statement_document("ledger", hex_of(canonical_digest(predicate)), CHECKPOINT, predicate)


def open_checkpoint(envelope: bytes, keys: Sequence[PublicKey], *, where: str = "ledger checkpoint") -> Checkpoint:
    """Return the checkpoint in `envelope`, signed by one of the pinned `keys`; raises TrustError otherwise."""
    statement = open_envelope(envelope, keys, predicate_type=CHECKPOINT, where=where)
    wire = read_predicate(_Checkpoint, statement.predicate, where=where)
    if canonical_digest(dict(statement.predicate)) != statement.subject:
        raise TrustError("the subject is not the checkpoint's own digest", where=where)
    return Checkpoint(wire.workspace, wire.size, parse_digest(wire.root))
