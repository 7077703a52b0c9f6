"""Behavioural observation statements: facts about one artifact under one set of conditions, signed by a sandbox."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import Field

from peft_assay.core.artifact import Artifact, manifest_of
from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest, hex_of, parse_digest
from peft_assay.core.errors import TrustError
from peft_assay.core.observation import Observation, ObservationSet, ObservedBy, Status, Value
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.core.statement import OBSERVATION, Statement
from peft_assay.core.vocabulary import STATIC_TERMS, Kind, suite_terms
from peft_assay.trust.certification import SUBJECT_NAME
from peft_assay.trust.envelope import statement_document
from peft_assay.trust.times import format_time, whole_seconds
from peft_assay.trust.wire import FullDigest, Hex, Instant, Wire, read_predicate


@dataclass(frozen=True, slots=True)
class ObservationRecord:
    """A view of one verified observation envelope."""

    envelope: Digest
    keyid: str
    """Key of the sandbox that signed."""
    artifact: Artifact
    conditions: Mapping[str, Any]
    attestation: Mapping[str, Any]
    """What the sandbox says was in force."""
    level: IsolationLevel
    """The attestation's ``level``: what the start-up attacks showed."""
    started_at: datetime
    finished_at: datetime
    attempt: int
    tested: Mapping[str, Any]
    """The tested envelope: on what, how much, how long, how decoded."""
    observations: ObservationSet


@dataclass(frozen=True, slots=True)
class ObservationAct:
    """What a sandbox is about to say: one completed act of observing."""

    artifact: Artifact
    conditions: Mapping[str, Any]
    """The lock's ``conditions`` document."""
    attestation: Mapping[str, Any]
    """`Sandbox.attestation()`; its ``level`` is the number of an IsolationLevel."""
    started_at: datetime
    finished_at: datetime
    attempt: int
    observations: tuple[Observation, ...]
    """Sorted by name, each once, not empty."""
    tested: Mapping[str, Any] = field(default_factory=dict)
    """The tested envelope, as the observe room describes it."""


class _Artifact(Wire):
    manifest: dict[str, Any]
    dirHash: Hex
    omsRoot: Hex


class _Conditions(Wire):
    digest: FullDigest
    document: dict[str, Any]


class _Observer(Wire):
    attestation: dict[str, Any]
    keyid: Hex


class _Fact(Wire):
    name: str
    status: Status = Field(strict=False)
    value: bool | int | float | str | list[str] | None
    observedBy: ObservedBy = Field(strict=False)
    reason: str | None
    evidence: FullDigest | None


class _Record(Wire):
    artifact: _Artifact
    conditions: _Conditions
    observer: _Observer
    startedAt: Instant
    finishedAt: Instant
    attempt: int = Field(ge=1)
    tested: dict[str, Any]
    observations: list[_Fact] = Field(min_length=1)


def observation_document(act: ObservationAct, *, keyid: str) -> dict[str, Any]:
    """The statement to seal with the sandbox key `keyid`."""
    predicate = {
        "artifact": {
            "manifest": act.artifact.manifest(),
            "dirHash": act.artifact.dir_hash,
            "omsRoot": act.artifact.oms_root,
        },
        "conditions": {"digest": canonical_digest(act.conditions), "document": dict(act.conditions)},
        "observer": {"attestation": dict(act.attestation), "keyid": keyid},
        "startedAt": format_time(act.started_at),
        "finishedAt": format_time(act.finished_at),
        "attempt": act.attempt,
        "tested": dict(act.tested),
        "observations": [observation.document() for observation in act.observations],
    }
    return statement_document(SUBJECT_NAME, hex_of(act.artifact.digest), OBSERVATION, predicate)


def observation_record_of(statement: Statement, *, where: str = "observation") -> ObservationRecord:
    """The record that these verified bytes are.

    Raises TrustError when the predicate is malformed or any of its parts contradicts another: digests that do not
    follow from their documents, another key than the one that signed, times out of order, an unknown isolation level.
    """
    if statement.predicate_type != OBSERVATION:
        raise TrustError(f"not an observation: {statement.predicate_type!r}", where=where)
    wire = read_predicate(_Record, statement.predicate, where=where)
    try:
        artifact = _artifact(wire.artifact, statement.subject)
        if canonical_digest(wire.conditions.document) != wire.conditions.digest:
            raise ValueError("conditions.digest is not the digest of conditions.document")
        if statement.keyids != (wire.observer.keyid,):
            raise ValueError("observer.keyid is not the key that signed")
        if wire.finishedAt < wire.startedAt:
            raise ValueError("finished before it started")
        facts = tuple(_observation(fact) for fact in wire.observations)
        observations = ObservationSet(artifact.digest, Digest(wire.conditions.digest), wire.startedAt, facts)
        level = _level(wire.observer.attestation)
    except ValueError as error:
        raise TrustError(str(error), where=where) from None
    return ObservationRecord(
        envelope=statement.envelope,
        keyid=wire.observer.keyid,
        artifact=artifact,
        conditions=wire.conditions.document,
        attestation=wire.observer.attestation,
        level=level,
        started_at=whole_seconds(wire.startedAt),
        finished_at=whole_seconds(wire.finishedAt),
        attempt=wire.attempt,
        tested=wire.tested,
        observations=observations,
    )


def _artifact(wire: _Artifact, subject: Digest) -> Artifact:
    artifact = manifest_of(wire.manifest)
    if artifact.digest != subject:
        raise ValueError("artifact.manifest is not the subject's")
    if (artifact.dir_hash, artifact.oms_root) != (wire.dirHash, wire.omsRoot):
        raise ValueError("dirHash or omsRoot does not follow from the manifest")
    return artifact


def _level(attestation: Mapping[str, Any]) -> IsolationLevel:
    level = attestation.get("level")
    if type(level) is not int:
        raise ValueError("observer.attestation.level is not a number")
    return IsolationLevel(level)


def _observation(fact: _Fact) -> Observation:
    value = None if fact.value is None else value_of(fact.name, fact.value)
    evidence = None if fact.evidence is None else parse_digest(fact.evidence)
    return Observation(fact.name, fact.status, value, fact.observedBy, fact.reason, evidence)


def value_of(name: str, written: Value | list[str]) -> Value:
    """The value of the term `name` as a signed statement writes it: canonical JSON spells 1.0 as 1."""
    if isinstance(written, list):
        return tuple(written)
    return float(written) if type(written) is int and _kind(name) is Kind.DOUBLE else written


def _kind(name: str) -> Kind | None:
    parts = name.split(".")
    terms = suite_terms(parts[1]) if parts[0] == "suite" and len(parts) == 3 else STATIC_TERMS
    return next((term.kind for term in terms if term.name == name), None)
