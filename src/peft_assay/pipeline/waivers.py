"""The waivers that a workspace holds of an artifact, and a verdict with those that count."""

from datetime import datetime

from peft_assay.core.context import Lock
from peft_assay.core.digest import Digest
from peft_assay.core.verdict import Verdict
from peft_assay.core.waiver import Waiver
from peft_assay.evaluate.interface import CompiledPolicy
from peft_assay.evaluate.waive import waive
from peft_assay.pipeline.decisions import about, standing_decisions
from peft_assay.pipeline.deployment import Deployment
from peft_assay.trust.waivers import open_waiver


def waivers_of(deployment: Deployment, artifact: Digest | None = None) -> tuple[Waiver, ...]:
    """Waivers of `artifact`, or all, that a pinned approver signed and nobody withdrew, by time, in force or not."""
    return about(artifact, standing_decisions(deployment, deployment.workspace.waivers(artifact), open_waiver))


def with_waivers(
    deployment: Deployment, policy: CompiledPolicy, verdict: Verdict, lock: Lock, now: datetime
) -> tuple[Verdict, tuple[Waiver, ...]]:
    """`verdict` of `policy` under `lock` with what is waived at `now`, and the waivers that it names."""
    known = waivers_of(deployment, verdict.artifact)
    waived = waive(policy, verdict, known, circumstances=lock.circumstances, now=now)
    named = {result.waiver for result in waived.waived}
    return waived, tuple(waiver for waiver in known if waiver.envelope in named)
