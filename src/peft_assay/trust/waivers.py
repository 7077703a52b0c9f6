"""Waivers, written and read: an approver's signed decision about one rule, one artifact and what the rule saw of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from peft_assay.core.canonical import JSON
from peft_assay.core.digest import hex_of, parse_digest
from peft_assay.core.errors import TrustError
from peft_assay.core.observation import Value
from peft_assay.core.waiver import LONGEST, PROTECTED, Protected, Waiver, is_waivable
from peft_assay.trust.envelope import open_envelope, statement_document
from peft_assay.trust.keys import PublicKey
from peft_assay.trust.observations import value_of
from peft_assay.trust.roles import WAIVER
from peft_assay.trust.times import format_time
from peft_assay.trust.wire import FullDigest, Instant, Wire, read_predicate


class _Rule(Wire):
    id: str = Field(min_length=1, max_length=64)
    digest: FullDigest


class _Waiver(Wire):
    rule: _Rule
    circumstances: FullDigest
    saw: dict[str, bool | int | float | str | list[str]] = Field(min_length=1)
    by: str = Field(min_length=1, max_length=200)
    reason: str = Field(min_length=1, max_length=2000)
    at: Instant
    expires: Instant


def waiver_document(waiver: Waiver) -> dict[str, Any]:
    """The statement that an approver seals; its subject is the artifact."""
    predicate = {
        "rule": {"id": waiver.rule, "digest": waiver.rule_digest},
        "circumstances": waiver.circumstances,
        "saw": written(waiver.saw),
        "by": waiver.by,
        "reason": waiver.reason,
        "at": format_time(waiver.at),
        "expires": format_time(waiver.expires),
    }
    return statement_document("artifact", hex_of(waiver.artifact), WAIVER, predicate)


def written(saw: Mapping[str, Value]) -> dict[str, JSON]:
    """Values by name as JSON has them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in saw.items()}


def open_waiver(envelope: bytes, approvers: Sequence[PublicKey], *, where: str = "waiver") -> Waiver:
    """The waiver in `envelope`, signed by a pinned approver; raises TrustError otherwise.

    One that accepts nothing, ends before it begins, holds for longer than a year or accepts a value of something that
    no waiver reaches is malformed, whoever signed it.
    """
    statement = open_envelope(envelope, approvers, predicate_type=WAIVER, where=where)
    wire = read_predicate(_Waiver, statement.predicate, where=where)
    if not wire.at < wire.expires <= wire.at + LONGEST:
        raise TrustError(f"it ends before it begins, or holds for more than {LONGEST.days} days", where=where)
    for name in sorted(wire.saw):
        # The deployment's own terms may stand in a rule's guard; that they are not what it asserts, `waive` asks.
        if not is_waivable(name) and PROTECTED.get(name) is not Protected.CONTEXT:
            raise TrustError(f"it accepts a value of {name}, which no waiver reaches", where=where)
    return Waiver(
        artifact=statement.subject,
        rule=wire.rule.id,
        rule_digest=parse_digest(wire.rule.digest),
        circumstances=parse_digest(wire.circumstances),
        saw={name: value_of(name, value) for name, value in wire.saw.items()},
        by=wire.by,
        reason=wire.reason,
        at=wire.at,
        expires=wire.expires,
        keyid=statement.keyids[0],
        envelope=statement.envelope,
    )
