"""Attempts in the record of the authority key: by an adapter's function and by its source, in any workspace.

Another byte of a README, factors written in another way or a new workspace do not restart the count. A passed attempt,
and one that reuses observations of an earlier attempt, is no further try: it does not draw the answers again.
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from peft_assay.core.artifact import CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.digest import Digest, sha256
from peft_assay.core.verdict import Outcome
from peft_assay.fingerprint.strengths import Strengths
from peft_assay.intake.reference import HubReference, parse_reference
from peft_assay.pipeline.candidates import Candidate
from peft_assay.pipeline.deployment import RECORDS, Deployment
from peft_assay.trust.attempts import Attempt, AttemptRecords
from peft_assay.trust.roles import Role

WINDOW = timedelta(days=30)
"""The time for which a try counts."""
REUSED = "REUSED"
"""The conclusion of an attempt that rests on earlier observations."""
TERM = "attempts.count"


@dataclass(frozen=True, slots=True)
class Counted:
    """An attempt that has begun, and the numbers of attempts."""

    id: str
    number: int
    """The number among all attempts at this function under the key, this one included."""
    tries: int
    """Attempts at this function or from this source, in the last `WINDOW`, that did not pass; with this one."""


def begin(deployment: Deployment, candidate: Candidate, lock: Digest, now: datetime) -> Counted:
    """Record that an attempt begins, before anything of it runs."""
    records = records_of(deployment)
    artifact = candidate.admitted.artifact
    attempt = Attempt(
        id=secrets.token_hex(16),
        function=function_of(deployment, candidate),
        strengths=_strengths(deployment, candidate),
        source=_source(deployment, candidate),
        artifact=artifact.digest,
        lock=lock,
        at=now,
    )
    records.begin(attempt)
    known = records.all()
    ours = [other for other in known if other.same_function(attempt)]
    from_here = [other for other in known if other.source == attempt.source]
    number = max(len(ours), deployment.workspace.attempts(artifact.digest))
    return Counted(attempt.id, number, max(_tries(which, attempt) for which in (ours, from_here)))


def conclude(deployment: Deployment, counted: str, outcome: Outcome, *, reused: bool) -> None:
    """Record the verdict of an attempt."""
    records_of(deployment).conclude(counted, REUSED if reused else outcome.value)


def records_of(deployment: Deployment) -> AttemptRecords:
    """Return the attempts of the pinned authority keys."""
    keyids = [key.keyid for key in deployment.anchor.keys_of(Role.AUTHORITY)]
    return AttemptRecords(deployment.location.state / RECORDS, keyids)


def function_of(deployment: Deployment, candidate: Candidate) -> Digest:
    """Return the digest of the candidate's function; its artifact's digest where its files have more than one
    reading.
    """
    from peft_assay.fingerprint.digest import function_digest
    from peft_assay.fingerprint.interface import Uncomputable

    try:
        return function_digest(_files(deployment, candidate))
    except Uncomputable:
        return candidate.admitted.artifact.digest


def _strengths(deployment: Deployment, candidate: Candidate) -> Strengths | None:
    from peft_assay.fingerprint.interface import Uncomputable
    from peft_assay.fingerprint.strengths import strengths_of

    try:
        return strengths_of(_files(deployment, candidate))
    except Uncomputable:
        return None


def _files(deployment: Deployment, candidate: Candidate) -> Mapping[str, bytes]:
    artifact = candidate.admitted.artifact
    named = (artifact.file(name) for name in (CONFIG_FILE, WEIGHTS_FILE))
    return {file.path: deployment.workspace.blobs.get(file.sha256) for file in named if file}


def _tries(known: Sequence[Attempt], attempt: Attempt) -> int:
    passing = {Outcome.PASS.value, REUSED}
    return sum(
        (other.id == attempt.id or other.outcome not in passing) and attempt.at - other.at <= WINDOW for other in known
    )


def _source(deployment: Deployment, candidate: Candidate) -> Digest:
    """Return the digest of the place that the candidate came from: a repository without its revision, or the resolved
    path.
    """
    named = candidate.source
    reference = parse_reference(named)
    if isinstance(reference, HubReference):
        named = f"hf://{reference.repo}:{reference.subfolder or ''}"
    elif "://" not in named:
        named = str((deployment.project.path.parent / named).resolve())
    return sha256(named.encode("utf-8", "surrogateescape"))
