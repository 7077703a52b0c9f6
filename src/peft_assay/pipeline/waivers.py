"""The waivers that a workspace holds of an artifact, and a verdict with those that count."""

from datetime import datetime

from peft_assay.core.context import Lock
from peft_assay.core.digest import Digest
from peft_assay.core.errors import TrustError
from peft_assay.core.verdict import Verdict
from peft_assay.core.waiver import Waiver
from peft_assay.evaluate.interface import CompiledPolicy
from peft_assay.evaluate.waive import waive
from peft_assay.pipeline.deployment import Deployment
from peft_assay.trust.roles import Role
from peft_assay.trust.waivers import open_waiver


def waivers_of(deployment: Deployment, artifact: Digest | None = None) -> tuple[Waiver, ...]:
    """Waivers of `artifact`, or all, that a pinned approver signed and nobody withdrew, by time, in force or not.

    One that does not verify, or whose approver's key is withdrawn, waives nothing: that is the safe side.
    """
    envelopes = deployment.workspace.waivers(artifact)
    if not envelopes:
        return ()
    record = deployment.revocations()
    withdrawn = set() if record is None else {entry.target for entry in record.list.revocations}
    found = []
    for envelope in envelopes:
        try:
            waiver = open_waiver(envelope, deployment.anchor.keys_of(Role.APPROVER))
        except TrustError:
            continue
        if artifact in (None, waiver.artifact) and waiver.keyid not in withdrawn:
            found.append(waiver)
    return tuple(sorted(found, key=lambda waiver: (waiver.at, waiver.envelope or "")))


def with_waivers(
    deployment: Deployment, policy: CompiledPolicy, verdict: Verdict, lock: Lock, now: datetime
) -> tuple[Verdict, tuple[Waiver, ...]]:
    """`verdict` of `policy` under `lock` with what is waived at `now`, and the waivers that it names."""
    known = waivers_of(deployment, verdict.artifact)
    waived = waive(policy, verdict, known, circumstances=lock.circumstances, now=now)
    named = {result.waiver for result in waived.waived}
    return waived, tuple(waiver for waiver in known if waiver.envelope in named)
