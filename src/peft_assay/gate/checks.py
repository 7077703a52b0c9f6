"""The ten checks of the gate, each a function from the case to what it established; `authorize` has the procedure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from peft_assay.core.artifact import Artifact, File
from peft_assay.core.certificate import Certificate, Reversal, Revocation, RevocationList, Scope
from peft_assay.core.context import DeploymentContext
from peft_assay.core.digest import Digest, sha256
from peft_assay.core.observation import Value
from peft_assay.core.statement import OBSERVATION, REVOCATIONS, VSA
from peft_assay.core.verdict import Outcome
from peft_assay.core.waiver import Waiver
from peft_assay.fingerprint.interface import Uncomputable
from peft_assay.gate.interface import Denial, Evidence
from peft_assay.trust.anchor import TrustAnchor
from peft_assay.trust.certification import certificate_of
from peft_assay.trust.envelope import open_envelope, open_linked
from peft_assay.trust.highwater import CLOCK_TOLERANCE
from peft_assay.trust.observations import ObservationRecord, observation_record_of
from peft_assay.trust.recognition import recognised
from peft_assay.trust.revocations import RevocationRecord, revocation_record_of
from peft_assay.trust.roles import Role
from peft_assay.trust.succession import check_descent
from peft_assay.trust.times import format_time
from peft_assay.trust.waivers import open_waiver
from peft_assay.trust.withdrawals import Certifiable, lifting, lifting_function, touching

_CERTIFY = "peft-assay certify SOURCE"
_REPORT = "peft-assay report SOURCE"
_OBSERVE = "peft-assay certify --fresh SOURCE"


class Failed(Exception):
    """A check does not hold; `denial` says as which error."""

    def __init__(self, message: str, next_step: str | None = None, denial: Denial = Denial.DENIED) -> None:
        super().__init__(message)
        self.message, self.next_step, self.denial = message, next_step, denial


class Unreached(Exception):
    """What can be said without the checks it builds on does not decide; `needs` names the one that failed."""

    def __init__(self, needs: str) -> None:
        super().__init__(needs)
        self.needs = needs


@dataclass(slots=True)
class Case:
    """One certificate under examination; each check fills in what later ones need."""

    evidence: Evidence
    anchor: TrustAnchor
    now: datetime
    envelope: bytes | None
    revocations: RevocationList = field(init=False)
    certificate: Certificate = field(init=False)
    records: tuple[ObservationRecord, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    reversal: Reversal | None = None
    """The reason that ended the certificate: a verdict that was not PASS, at issuance or later. The list of check 2 has
    it."""

    def earlier_list(self, digest: Digest) -> RevocationRecord | None:
        """Return the earlier list with this digest, for which the list that names it vouches; None where it is not
        there.
        """
        content = self.evidence.lists.get(digest)
        if content is None:
            return None
        statement = open_linked(content, digest, predicate_type=REVOCATIONS, where=f"revocation list {digest}")
        return revocation_record_of(statement, self.anchor.keys_of(Role.APPROVER))

    @property
    def oldest(self) -> datetime:
        return min(record.started_at for record in self.records)

    @property
    def maximum_age(self) -> timedelta:
        return min(self.anchor.maximum_age, self.evidence.context.maximum_age)


def _anchor(case: Case) -> str:
    return ask_keys(case.anchor, case.evidence.context)


def ask_keys(anchor: TrustAnchor, context: DeploymentContext) -> str:
    """Check the pinned keys, which are known before there is a certificate; raises Failed."""
    if not anchor.keys_of(Role.AUTHORITY) or not anchor.keys_of(Role.SANDBOX):
        raise Failed("no keys are pinned for authority or sandbox", "pin them in trust.yaml", Denial.TRUST)
    development = anchor.development_keyids()
    if development and (anchor.production or context.production):
        raise Failed(
            f"production refuses development keys: {', '.join(development)}",
            "pin keys of your own in trust.yaml (docs/how-to/rotate-keys.md)"
            + ("" if anchor.production else "; to try things out, write production: false under context"),
            Denial.TRUST,
        )
    return "development keys; not for production" if development else "keys are pinned"


def _revocations(case: Case) -> str:
    refresh = "peft-assay revoke --refresh"
    if case.evidence.revocations is None:
        if case.envelope is None and (case.evidence.mark is None or case.evidence.mark.sequence == 0):
            raise _nothing_yet(case)
        raise Failed("there is no revocation list: absence of news is not good news", refresh)
    statement = open_envelope(
        case.evidence.revocations,
        case.anchor.keys_of(Role.AUTHORITY),
        predicate_type=REVOCATIONS,
        where="revocation list",
    )
    record = revocation_record_of(statement, case.anchor.keys_of(Role.APPROVER))
    found = case.revocations = record.list
    if any(entry.scope is Scope.KEY and entry.target == found.keyid for entry in found.revocations):
        raise Failed("the revocation list is signed by a key that it withdraws", refresh, Denial.TRUST)
    mark = case.evidence.mark
    if mark is not None and found.sequence < mark.sequence:
        raise Failed(f"revocation list {found.sequence} was put back; {mark.sequence} was seen", refresh, Denial.TRUST)
    check_descent(record, None if mark is None else mark.list, case.earlier_list)
    if mark is not None and case.now + CLOCK_TOLERANCE < mark.seen_at:
        raise Failed(f"the clock was put back; {format_time(mark.seen_at)} was seen", "correct it", Denial.TRUST)
    if found.issued_at > case.now + CLOCK_TOLERANCE:
        raise Failed(f"the revocation list is from the future: {format_time(found.issued_at)}", "correct the clock")
    until = min(found.not_after, found.issued_at + case.anchor.revocation_maximum_age)
    if case.now >= until:
        raise Failed(f"the revocation list was fresh until {format_time(until)}", refresh)
    case.reversal = found.reversal_of(case.evidence.artifact.digest, case.evidence.lock.digest)
    first = "" if mark is not None else "; first use on this host, trusted as found"
    return f"list {found.sequence} is fresh until {format_time(until)}{first}"


def _nothing_yet(case: Case) -> Failed:
    """Return what is true of a place in which no certificate was issued yet: the first one begins the list."""
    if case.evidence.last_said is None:
        return Failed("nothing was certified here yet: the first certificate begins the revocation list", _CERTIFY)
    return Failed(f"there is no certificate: the policy said {case.evidence.last_said}", _REPORT)


def _certificate(case: Case) -> str:
    if case.envelope is not None:
        return "a certificate is recorded"
    said = case.evidence.last_said
    if said not in (None, Outcome.PASS.value):
        raise Failed(f"there is no certificate: the policy said {said}", _REPORT)
    if case.evidence.other_locks:
        raise Failed(f"certified only for another context: {', '.join(case.evidence.other_locks)}", _CERTIFY)
    if case.evidence.other_artifacts:
        raise Failed(
            f"other bytes from this source are certified: {', '.join(case.evidence.other_artifacts)}; these are "
            f"{case.evidence.artifact.digest}",
            _CERTIFY,
        )
    raise Failed("there is no certificate for this adapter", _CERTIFY)


def _signature(case: Case) -> str:
    content = case.envelope if case.envelope is not None else b""
    keys = case.anchor.keys_of(Role.AUTHORITY)
    found = certificate_of(open_envelope(content, keys, predicate_type=VSA, where="certificate"))
    if found.artifact != case.evidence.artifact.digest:
        raise Failed(f"the certificate is for other bytes: {found.artifact}", _CERTIFY)
    if found.lock != case.evidence.lock.digest:
        raise Failed(f"the certificate is for another context: {found.lock}", _CERTIFY)
    case.certificate = found
    return f"PASSED, signed by {found.keyid}"


def _observations(case: Case) -> str:
    minimum = max(case.anchor.minimum_isolation, case.evidence.context.minimum_isolation)
    records = []
    for digest in case.certificate.observations:
        content = case.evidence.observations.get(digest)
        if content is None or sha256(content) != digest:
            raise Failed(f"observation {digest} is absent or altered", _OBSERVE, Denial.TRUST)
        keys = case.anchor.keys_of(Role.SANDBOX)
        record = observation_record_of(open_envelope(content, keys, predicate_type=OBSERVATION, where="observation"))
        if record.artifact.digest != case.certificate.artifact:
            raise Failed(f"observation {digest} is about another adapter", _OBSERVE, Denial.TRUST)
        if record.observations.conditions != case.evidence.lock.conditions:
            raise Failed(f"observation {digest} was made under other conditions", _OBSERVE, Denial.TRUST)
        if record.level < minimum:
            raise Failed(f"observed at isolation level {int(record.level)}, below {int(minimum)}", _OBSERVE)
        records.append(record)
    case.records = tuple(records)
    if case.certificate.observed_at != case.oldest:
        raise Failed("the certificate dates its oldest observation otherwise", _CERTIFY, Denial.TRUST)
    return f"{len(records)} signed by pinned sandboxes at level {int(minimum)} or above"


def _waivers(case: Case) -> str:
    found = []
    for rule, digest in case.certificate.waivers.items():
        content = case.evidence.waivers.get(digest)
        if content is None:
            raise Failed(f"the waiver of {rule} is absent or withdrawn: {digest}", _CERTIFY)
        if sha256(content) != digest:
            raise Failed(f"the waiver of {rule} is altered: {digest}", _CERTIFY, Denial.TRUST)
        waiver = open_waiver(content, case.anchor.keys_of(Role.APPROVER), where=f"waiver of {rule}")
        if (waiver.artifact, waiver.rule) != (case.certificate.artifact, rule):
            raise Failed(f"the waiver of {rule} is about another adapter or rule", _CERTIFY, Denial.TRUST)
        if waiver.circumstances != case.evidence.lock.circumstances:
            raise Failed(f"the waiver of {rule} is for another deployment", _CERTIFY)
        if not waiver.accepts({name: seen_value(case, name) for name in waiver.saw}):
            raise Failed(f"the waiver of {rule} accepts something else than was observed", _CERTIFY)
        if waiver.at > case.now + CLOCK_TOLERANCE or case.now >= waiver.expires:
            raise Failed(f"the waiver of {rule} is not in force: it ends at {format_time(waiver.expires)}", _CERTIFY)
        found.append(waiver)
    case.waivers = tuple(found)
    return f"{len(found)} in force: {', '.join(w.rule for w in found)}" if found else "no rule is waived"


def seen_value(case: Case, name: str) -> Value | None:
    """What was observed of `name`; None where that is nothing, or not one thing."""
    met = [observation.value for record in case.records if (observation := record.observations.get(name))]
    return met[0] if len(met) == 1 else None


def _times(case: Case) -> str:
    if max(case.certificate.issued_at, *(r.finished_at for r in case.records)) > case.now + CLOCK_TOLERANCE:
        raise Failed("the certificate or an observation is from the future", "correct the clock")
    reversal = case.reversal
    if reversal is not None and reversal.at >= case.certificate.issued_at:
        at = format_time(reversal.at)
        raise Failed(f"it was judged again, at {at}: the policy said {reversal.outcome}", _REPORT)
    if case.now >= case.certificate.not_after:
        raise Failed(f"the certificate expired at {format_time(case.certificate.not_after)}", _OBSERVE)
    if case.now >= case.oldest + case.maximum_age:
        raise Failed(f"its oldest observation, of {format_time(case.oldest)}, is too old", _OBSERVE)
    return f"observed at {format_time(case.oldest)}, valid until {format_time(case.certificate.not_after)}"


def _withdrawn(case: Case) -> str:
    """What is withdrawn is so without a certificate too: adapter, weights, base, suites, policy, other certificates."""
    in_force = case.revocations.revocations
    certified = case.certificate if case.records else None
    signed = (*case.records, *case.waivers, *(() if certified is None else (certified,)))
    subject = Certifiable(
        artifact=case.evidence.artifact,
        lock=case.evidence.lock,
        policy=None if certified is None else certified.policy,
        certificates=frozenset(map(sha256, case.evidence.certificates)) | case.evidence.earlier,
        keyids=frozenset(statement.keyid for statement in signed),
    )
    for entry in touching(in_force, subject):
        raise Failed(
            f"withdrawn since {format_time(entry.at)} ({entry.scope.value} {entry.target}): {entry.reason}",
            lifting(entry),
        )
    for entry in _recognised(case):
        raise Failed(
            f"it has the function that was withdrawn at {format_time(entry.at)} under other bytes "
            f"({entry.scope.value} {entry.target}): {entry.reason}",
            lifting_function(entry),
        )
    if certified is None:
        raise Unreached("observations")
    return f"none of {len(in_force)} revocations in force touches it, by name or by function"


def _recognised(case: Case) -> tuple[Revocation, ...]:
    try:
        return recognised(case.revocations, case.evidence.files)
    except Uncomputable as unknown:
        raise Failed(
            f"its function cannot be computed, so it may be a withdrawn adapter: {unknown}",
            "peft-assay inspect SOURCE",
        ) from None


def _bytes(case: Case) -> str:
    at_hand = (File(path, len(content), sha256(content)) for path, content in sorted(case.evidence.files.items()))
    files = tuple(at_hand)
    if not files or Artifact(files).digest != case.certificate.artifact:
        raise Failed("the files at hand are not the certified ones", _CERTIFY)
    return f"{len(files)} files, byte for byte"


def _base(case: Case) -> str:
    match case.evidence.lock.document["conditions"]:
        case {"base": {"state": str(state)}} if state == case.evidence.base_state:
            return f"base state {state}"
    raise Failed(f"the base at hand has state {case.evidence.base_state}, not the lock's", "load the declared base")


@dataclass(frozen=True, slots=True)
class Step:
    """One check of the procedure, and the earlier ones whose findings it builds on."""

    name: str
    examine: Callable[[Case], str]
    needs: tuple[str, ...] = ()


PROCEDURE: tuple[Step, ...] = (
    Step("anchor", _anchor),
    Step("revocations", _revocations, ("anchor",)),
    Step("certificate", _certificate),
    Step("signature", _signature, ("anchor", "certificate")),
    Step("observations", _observations, ("signature",)),
    Step("waivers", _waivers, ("observations",)),
    Step("times", _times, ("observations",)),
    Step("withdrawn", _withdrawn, ("revocations",)),
    Step("bytes", _bytes, ("signature",)),
    Step("base", _base),
)
