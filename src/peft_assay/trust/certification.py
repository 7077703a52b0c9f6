"""Certifications: our SLSA verification summary (https://slsa.dev/spec/v1.1/verification_summary), written and read.

Only PASSED exists. A denial is a ledger record and never a signed summary, because a reader that looks only for a
valid signature would take it for an admission.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import AfterValidator, Field

from peft_assay.core.certificate import Certificate
from peft_assay.core.digest import Digest, hex_of
from peft_assay.core.errors import TrustError
from peft_assay.core.statement import ADMISSIBLE, CERTIFICATION, VSA, Statement
from peft_assay.core.verdict import Outcome
from peft_assay.trust.envelope import statement_document
from peft_assay.trust.resource_uri import Resource, format_resource, parse_resource
from peft_assay.trust.times import format_time
from peft_assay.trust.wire import Instant, Sha256, Wire, read_predicate

AUTHORITY_PREFIX = "https://w3id.org/peft-assay/authority/"
POLICY_PREFIX = "peft-assay:policy:"
SUBJECT_NAME = "adapter-manifest"


@dataclass(frozen=True, slots=True)
class Certification:
    """What an authority is about to say."""

    artifact: Digest
    lock: Digest
    policy_id: str
    policy: Digest
    observations: tuple[Digest, ...]
    observed_at: datetime
    issued_at: datetime
    not_after: datetime
    attempts: int
    outcomes: Mapping[str, str]
    """Outcome by rule id. Informative."""
    tested: tuple[Mapping[str, Any], ...] = ()
    """The tested envelope of each observation, in their order. Informative."""
    waivers: Mapping[str, Digest] = field(default_factory=dict)
    """Envelope of the waiver, for each rule whose outcome is WAIVED."""


@dataclass(frozen=True, slots=True)
class CertificationNotes:
    """The informative extension of a verified certification: for people and reports, never for a yes.

    Its waivers can only take away: the gate asks for each of them again.
    """

    attempts: int
    observed_at: datetime
    outcomes: Mapping[str, str]
    tested: tuple[Mapping[str, Any], ...]


def _resource_form(text: str) -> str:
    parse_resource(text)
    return text


class _Verifier(Wire):
    id: str


class _Policy(Wire):
    uri: str = Field(pattern=f"^{POLICY_PREFIX}.+$")
    digest: Sha256


class _Input(Wire):
    digest: Sha256


class _Waived(Wire):
    rule: str
    digest: Sha256


class _Notes(Wire):
    attempts: int = Field(ge=1)
    observedAt: Instant
    outcomeByRule: dict[str, str]
    tested: list[dict[str, Any]]
    waivers: list[_Waived] = Field(default=[])


class _Summary(Wire):
    verifier: _Verifier
    timeVerified: Instant
    resourceUri: Annotated[str, AfterValidator(_resource_form)]
    policy: _Policy
    inputAttestations: list[_Input] = Field(min_length=1)
    verificationResult: Literal["PASSED"]
    verifiedLevels: tuple[Literal["PEFT_ASSAY_ADMISSIBLE"]] = Field(strict=False)
    notes: _Notes = Field(alias=CERTIFICATION)


def certification_document(said: Certification, *, keyid: str) -> dict[str, Any]:
    """The statement to seal with the authority key `keyid`."""
    resource = Resource(said.lock, said.observed_at, said.not_after)
    predicate = {
        "verifier": {"id": AUTHORITY_PREFIX + keyid},
        "timeVerified": format_time(said.issued_at),
        "resourceUri": format_resource(resource),
        "policy": {"uri": POLICY_PREFIX + quote(said.policy_id, safe=""), "digest": {"sha256": hex_of(said.policy)}},
        "inputAttestations": [{"digest": {"sha256": hex_of(digest)}} for digest in said.observations],
        "verificationResult": "PASSED",
        "verifiedLevels": [ADMISSIBLE],
        CERTIFICATION: {
            "attempts": said.attempts,
            "observedAt": format_time(said.observed_at),
            "outcomeByRule": dict(said.outcomes),
            "tested": [dict(tested) for tested in said.tested],
            "waivers": [
                {"rule": rule, "digest": {"sha256": hex_of(waiver)}} for rule, waiver in sorted(said.waivers.items())
            ],
        },
    }
    return statement_document(SUBJECT_NAME, hex_of(said.artifact), VSA, predicate)


def certificate_of(statement: Statement, *, where: str = "certificate") -> Certificate:
    """The certificate that these verified bytes are.

    Raises TrustError when the predicate is not our summary, not PASSED, names another authority than the key that
    signed, or contradicts itself in time.
    """
    summary = _read(statement, where)
    keyid = summary.verifier.id.removeprefix(AUTHORITY_PREFIX)
    if statement.keyids != (keyid,) or summary.verifier.id != AUTHORITY_PREFIX + keyid:
        raise TrustError("the verifier it names is not the key that signed it", where=where)
    resource = parse_resource(summary.resourceUri)
    if not resource.observed_at <= summary.timeVerified < resource.not_after:
        raise TrustError("it was issued outside its own validity period", where=where)
    return Certificate(
        envelope=statement.envelope,
        artifact=statement.subject,
        lock=resource.lock,
        policy=summary.policy.digest.digest,
        observations=tuple(item.digest.digest for item in summary.inputAttestations),
        observed_at=resource.observed_at,
        issued_at=summary.timeVerified,
        not_after=resource.not_after,
        keyid=keyid,
        waivers=_waivers(summary.notes, where),
    )


def _waivers(notes: _Notes, where: str) -> dict[str, Digest]:
    """Rule to waiver; raises TrustError unless exactly the rules whose outcome is WAIVED have one, and one each."""
    waived = sorted(rule for rule, outcome in notes.outcomeByRule.items() if outcome == Outcome.WAIVED.value)
    if [item.rule for item in notes.waivers] != waived:
        raise TrustError("its waivers are not those of the rules that it calls waived", where=where)
    return {item.rule: item.digest.digest for item in notes.waivers}


def notes_of(statement: Statement, *, where: str = "certificate") -> CertificationNotes:
    """The informative extension of a verified certification."""
    notes = _read(statement, where).notes
    return CertificationNotes(notes.attempts, notes.observedAt, notes.outcomeByRule, tuple(notes.tested))


def _read(statement: Statement, where: str) -> _Summary:
    if statement.predicate_type != VSA:
        raise TrustError(f"not a verification summary: {statement.predicate_type!r}", where=where)
    return read_predicate(_Summary, statement.predicate, where=where)
