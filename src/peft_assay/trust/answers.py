"""Kept answers: what one model answered to public cases under one set of conditions, signed by the sandbox.

They let a suite be edited, or a policy changed, without asking again what was asked before. Nothing is decided from
them: whoever finds one scores it anew. A base's answers come only from a process that never held an adapter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest, hex_of
from peft_assay.core.errors import TrustError
from peft_assay.core.statement import ANSWERS
from peft_assay.trust.envelope import open_envelope, statement_document
from peft_assay.trust.keys import PublicKey
from peft_assay.trust.times import format_time, whole_seconds
from peft_assay.trust.wire import FullDigest, Hex, Instant, Wire, read_predicate

SUBJECT_NAME = "model"


@dataclass(frozen=True, slots=True)
class KeptAnswers:
    """A view of one verified envelope, or what is about to become one."""

    subject: Digest
    """The artifact; for the base alone, its state."""
    conditions: Mapping[str, Any]
    """All that the answers depend on besides the questions."""
    started_at: datetime
    """When the first of them was given: a certificate's age counts from there."""
    answers: Mapping[str, Any]
    """By the question's digest; each an open document of the observe room's, which reads it strictly."""


class _Observer(Wire):
    keyid: Hex


class _Conditions(Wire):
    digest: FullDigest
    document: dict[str, Any]


class _Answers(Wire):
    conditions: _Conditions
    observer: _Observer
    startedAt: Instant
    answers: dict[FullDigest, dict[str, Any]]


def answers_document(kept: KeptAnswers, *, keyid: str) -> dict[str, Any]:
    """The statement to seal with the sandbox key `keyid`."""
    predicate = {
        "conditions": {"digest": canonical_digest(kept.conditions), "document": dict(kept.conditions)},
        "observer": {"keyid": keyid},
        "startedAt": format_time(kept.started_at),
        "answers": dict(kept.answers),
    }
    return statement_document(SUBJECT_NAME, hex_of(kept.subject), ANSWERS, predicate)


def open_answers(envelope: bytes, sandboxes: Sequence[PublicKey], *, where: str = "answers") -> KeptAnswers:
    """The answers in `envelope`, signed by a pinned sandbox key; raises TrustError otherwise."""
    statement = open_envelope(envelope, sandboxes, predicate_type=ANSWERS, where=where)
    wire = read_predicate(_Answers, statement.predicate, where=where)
    if canonical_digest(wire.conditions.document) != wire.conditions.digest:
        raise TrustError("conditions.digest is not the digest of conditions.document", where=where)
    if statement.keyids != (wire.observer.keyid,):
        raise TrustError("observer.keyid is not the key that signed", where=where)
    return KeptAnswers(statement.subject, wire.conditions.document, whole_seconds(wire.startedAt), dict(wire.answers))
