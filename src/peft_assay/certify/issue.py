"""Issuing: a PASS over verified observations becomes a signed certification. Nothing else does."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from peft_assay.core.artifact import CONFIG_FILE, WEIGHTS_FILE, Artifact
from peft_assay.core.certificate import RevocationList
from peft_assay.core.context import Lock
from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import TrustError, UsageError
from peft_assay.core.policy import Policy
from peft_assay.core.protocols import Sealer
from peft_assay.core.verdict import Outcome, Verdict
from peft_assay.core.waiver import Waiver
from peft_assay.fingerprint.interface import Uncomputable
from peft_assay.trust.certification import Certification, certification_document
from peft_assay.trust.observations import ObservationRecord
from peft_assay.trust.recognition import recognised
from peft_assay.trust.times import whole_seconds
from peft_assay.trust.withdrawals import Certifiable, lifting, lifting_function, touching

_DECIDING = frozenset({CONFIG_FILE, WEIGHTS_FILE})


class Withheld(TrustError):
    """The policy passes, and certification is refused: the adapter is withdrawn, or the gate would refuse the
    certificate at once.
    """


def issue(
    *,
    verdict: Verdict,
    artifact: Artifact,
    lock: Lock,
    policy: Policy,
    observations: Sequence[ObservationRecord],
    attempts: int,
    now: datetime,
    maximum_age: timedelta,
    revocations: RevocationList,
    earlier: Sequence[Digest],
    files: Mapping[str, bytes],
    sealer: Sealer,
    waivers: Sequence[Waiver] = (),
) -> bytes:
    """Return the envelope of the certification of `artifact` under `lock`; `sealer` is the authority's.

    `revocations` is the newest verified list and `earlier` the envelopes of certificates for the same artifact and
    lock: a withdrawal in force is a hold, which neither certifying again nor writing the same adapter in other bytes
    lifts (`files` are the artifact's). Validity ends `maximum_age` after the oldest observation began, however late it
    is issued, and no later than any of `waivers`, the verified ones that the verdict names. Raises TrustError for any
    verdict but PASS, for anything withdrawn (Withheld), and for evidence or waivers that are absent, about something
    else, not yet made or too old already.
    """
    _check_verdict(verdict, artifact, lock, policy)
    _check_observations(observations, artifact, lock)
    issued_at = whole_seconds(now)
    makers = {sealer.keyid, *(record.keyid for record in observations)}
    _check_waivers(verdict, waivers, lock, makers, issued_at)
    keyids = frozenset({*makers, *(waiver.keyid for waiver in waivers)})
    _check_holds(revocations, Certifiable(artifact, lock, policy.digest, frozenset(earlier), keyids), files)
    if attempts < 1:
        raise UsageError("a certification counts at least one attempt")
    observed_at, not_after = _validity(observations, waivers, issued_at, maximum_age)
    said = Certification(
        artifact=artifact.digest,
        lock=lock.digest,
        policy_id=policy.id,
        policy=policy.digest,
        observations=tuple(record.envelope for record in observations),
        observed_at=observed_at,
        issued_at=issued_at,
        not_after=not_after,
        attempts=attempts,
        outcomes={result.rule: result.outcome.value for result in verdict.results},
        tested=tuple(record.tested for record in observations),
        waivers={result.rule: result.waiver for result in verdict.waived if result.waiver is not None},
    )
    return sealer.seal(certification_document(said, keyid=sealer.keyid))


def _check_holds(revocations: RevocationList, certifiable: Certifiable, files: Mapping[str, bytes]) -> None:
    """Refuse an adapter that a withdrawal in force names, or whose function it names."""
    for hold in touching(revocations.revocations, certifiable):
        raise Withheld(
            f"withdrawn: {hold.scope.value} {hold.target}: {hold.reason}",
            next_step=lifting(hold),
        )
    _check_function(revocations, certifiable.artifact, files)


def _check_function(revocations: RevocationList, artifact: Artifact, files: Mapping[str, bytes]) -> None:
    """Refuse an adapter with the same function as a withdrawn one. An adapter whose function is unknown may be one of
    them.
    """
    if any(sha256(files.get(file.path, b"")) != file.sha256 for file in artifact.files if file.path in _DECIDING):
        raise TrustError("the files at hand are not the artifact's")
    try:
        holds = recognised(revocations, files)
    except Uncomputable as unknown:
        raise Withheld(
            f"its function cannot be computed, so it may be a withdrawn adapter: {unknown}",
            next_step="peft-assay inspect SOURCE",
        ) from None
    for hold in holds:
        raise Withheld(
            f"it has the function that was withdrawn under other bytes: {hold.scope.value} {hold.target}: "
            f"{hold.reason}",
            next_step=lifting_function(hold),
        )


def _validity(
    observations: Sequence[ObservationRecord], waivers: Sequence[Waiver], issued_at: datetime, maximum_age: timedelta
) -> tuple[datetime, datetime]:
    """When the oldest observation began, and when what rests on it and on `waivers` ends: later than `issued_at`."""
    if maximum_age <= timedelta(0):
        raise UsageError("a certification lasts longer than nothing")
    if max(record.finished_at for record in observations) > issued_at:
        raise TrustError("an observation is dated in the future", next_step="correct the clock and observe again")
    observed_at = min(record.started_at for record in observations)
    not_after = min([observed_at + maximum_age, *(waiver.expires for waiver in waivers)])
    if not_after <= issued_at:
        raise Withheld("the oldest observation is already too old", next_step="peft-assay certify --fresh TARGET")
    return observed_at, not_after


def _check_verdict(verdict: Verdict, artifact: Artifact, lock: Lock, policy: Policy) -> None:
    if verdict.outcome is not Outcome.PASS:
        raise TrustError(f"the verdict is {verdict.outcome.value}; only PASS is ever signed")
    if (verdict.artifact, verdict.lock, verdict.policy) != (artifact.digest, lock.digest, policy.digest):
        raise TrustError("the verdict is about another artifact, context or policy")
    if {result.rule for result in verdict.results} != {rule.id for rule in policy.rules}:
        raise TrustError("the verdict does not answer exactly the rules of the policy")


def _check_observations(observations: Sequence[ObservationRecord], artifact: Artifact, lock: Lock) -> None:
    if not observations:
        raise TrustError("no observations: nothing was examined")
    if len({record.envelope for record in observations}) != len(observations):
        raise TrustError("an observation is named twice")
    for record in observations:
        if record.artifact.digest != artifact.digest:
            raise TrustError("an observation is about another artifact", where=record.envelope)
        if record.observations.conditions != lock.conditions:
            raise TrustError("an observation was made under other conditions", where=record.envelope)


def _check_waivers(verdict: Verdict, waivers: Sequence[Waiver], lock: Lock, makers: set[str], now: datetime) -> None:
    """Each waived rule has its waiver, by somebody who neither observed nor certifies, about exactly what it saw."""
    given = {waiver.envelope: waiver for waiver in waivers}
    if sorted(given, key=str) != sorted((result.waiver for result in verdict.waived), key=str):
        raise TrustError("the waivers are not those that the verdict names")
    for result in verdict.waived:
        waiver = given[result.waiver]
        where = f"waiver of {result.rule}"
        if waiver.rule != result.rule or not waiver.accepts(result.saw):
            raise TrustError("it accepts another rule, or other values", where=where)
        if not waiver.covers(verdict.artifact, lock.circumstances, now):
            raise TrustError("it is about another artifact or deployment, or not in force", where=where)
        if waiver.keyid in makers:
            raise TrustError("it is signed by a key that observed or certifies: nobody accepts their own", where=where)
