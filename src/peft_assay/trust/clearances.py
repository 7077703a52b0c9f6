"""Rights clearances: an approver's signed decision about one grant of one artifact, bound to what was known."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from peft_assay.core.digest import hex_of, parse_digest
from peft_assay.core.errors import TrustError
from peft_assay.core.rights import GRANTS, Answer, Clearance
from peft_assay.trust.envelope import open_envelope, statement_document
from peft_assay.trust.keys import PublicKey
from peft_assay.trust.roles import CLEARANCE
from peft_assay.trust.times import format_time
from peft_assay.trust.wire import FullDigest, Instant, Wire, read_predicate


class _Clearance(Wire):
    grant: str
    answered: str
    lineage: FullDigest
    snapshot: FullDigest | None
    by: str = Field(min_length=1, max_length=200)
    reason: str = Field(min_length=1, max_length=2000)
    at: Instant
    expires: Instant


def clearance_document(clearance: Clearance) -> dict[str, Any]:
    """The statement that an approver seals; its subject is the artifact."""
    predicate = {
        "grant": clearance.grant,
        "answered": clearance.answered.value,
        "lineage": clearance.lineage,
        "snapshot": clearance.snapshot,
        "by": clearance.by,
        "reason": clearance.reason,
        "at": format_time(clearance.at),
        "expires": format_time(clearance.expires),
    }
    return statement_document("artifact", hex_of(clearance.artifact), CLEARANCE, predicate)


def open_clearance(envelope: bytes, approvers: Sequence[PublicKey], *, where: str = "clearance") -> Clearance:
    """The clearance in `envelope`, signed by a pinned approver; raises TrustError otherwise.

    What a clearance says yes to is a grant that the declarations left unknown, or refused while somebody insisted; one
    that claims they said yes is malformed, as is one that ends before it begins.
    """
    statement = open_envelope(envelope, approvers, predicate_type=CLEARANCE, where=where)
    wire = read_predicate(_Clearance, statement.predicate, where=where)
    if wire.grant not in GRANTS or wire.answered not in {Answer.UNKNOWN.value, Answer.NO.value}:
        raise TrustError("it clears no grant that declarations can leave open", where=where)
    if wire.expires <= wire.at:
        raise TrustError("it ends before it begins", where=where)
    return Clearance(
        artifact=statement.subject,
        grant=wire.grant,
        answered=Answer(wire.answered),
        lineage=parse_digest(wire.lineage),
        snapshot=None if wire.snapshot is None else parse_digest(wire.snapshot),
        by=wire.by,
        reason=wire.reason,
        at=wire.at,
        expires=wire.expires,
        keyid=statement.keyids[0],
        envelope=statement.envelope,
    )
