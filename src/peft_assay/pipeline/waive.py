"""`waive`: an approver's signed decision to accept what one rule denies, as it was seen, here and for a while."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from peft_assay.core.digest import Digest
from peft_assay.core.errors import UsageError
from peft_assay.core.verdict import Outcome, RuleResult, Verdict
from peft_assay.core.waiver import LONGEST, Waiver
from peft_assay.evaluate.interface import CompiledRule
from peft_assay.evaluate.waive import protection, rule_digest
from peft_assay.intake.admit import admit
from peft_assay.pipeline.certify import Certification
from peft_assay.pipeline.deployment import Clock, Deployment
from peft_assay.pipeline.project import build_lock, observed_in
from peft_assay.pipeline.reporting import recorded
from peft_assay.pipeline.sources import Located
from peft_assay.pipeline.waivers import waivers_of
from peft_assay.trust.observations import ObservationRecord
from peft_assay.trust.roles import Role
from peft_assay.trust.waivers import open_waiver, waiver_document


@dataclass(frozen=True, slots=True)
class WaiverView:
    """What is waived of one adapter, and what could be."""

    name: str
    source: str
    artifact: Digest
    kept: tuple[Waiver, ...]
    """Not withdrawn; in force or not."""
    counting: frozenset[Digest]
    """Envelopes of those that the newest judgement stands on."""
    waivable: tuple[str, ...]
    """Rules that fail and may be waived."""
    protected: tuple[str, ...]
    """Rules that fail and may not."""


def look(deployment: Deployment, source: Located) -> WaiverView:
    """What is waived of `source`; raises UsageError when it was never judged here."""
    judged, verdict, record = _judged(deployment, source)
    failing = list(_failing_rules(deployment, verdict))
    return WaiverView(
        name=judged.name,
        source=judged.source,
        artifact=verdict.artifact,
        kept=waivers_of(deployment, record.artifact.digest),
        counting=frozenset(result.waiver for result in verdict.waived if result.waiver is not None),
        waivable=tuple(rule for rule, may in failing if may),
        protected=tuple(rule for rule, may in failing if not may),
    )


def _failing_rules(deployment: Deployment, verdict: Verdict) -> Iterator[tuple[str, bool]]:
    for compiled, result in zip(deployment.project.policy.rules, verdict.results, strict=True):
        if result.outcome is Outcome.FAIL:
            yield result.rule, protection(compiled) is None


def _judged(deployment: Deployment, source: Located) -> tuple[Certification, Verdict, ObservationRecord]:
    (judged,) = recorded(deployment, [source])
    if judged.verdict is None or judged.record is None:
        raise AssertionError("what is recorded was judged")
    return judged, judged.verdict, judged.record


def _circumstances(deployment: Deployment, judged: Certification, record: ObservationRecord) -> Digest:
    """What the deployment is now; raises UsageError when the adapter was observed in another one."""
    observed = observed_in(record.conditions)
    lock = None if observed is None else build_lock(deployment.project, observed, record.artifact.digest)
    if lock is None or lock.conditions != record.observations.conditions:
        raise UsageError(
            "it was observed under other conditions than those of now",
            where=judged.source,
            next_step=f"peft-assay certify {shlex.quote(judged.source)}",
        )
    return lock.circumstances


def sign(
    deployment: Deployment, source: Located, *, rule: str, reason: str, by: str, valid: timedelta, clock: Clock
) -> Waiver:
    """Signs and keeps a waiver of `rule` with the approver's key, for exactly what the rule saw of this adapter.

    One that is waived already can be waived again, for longer. Raises UsageError for a rule that does not fail, that
    speaks of something no waiver reaches, or that the policy does not have, and for a validity of nothing or of more
    than a year.
    """
    now = clock()
    deployment.raise_mark(now)
    judged, verdict, record = _judged(deployment, source)
    compiled, result = _failing(deployment, judged, verdict, rule)
    if not reason.strip() or not by.strip():
        raise UsageError("a waiver has a reason and the name of who decided", next_step="--reason '...' --by '...'")
    if not timedelta(0) < valid <= LONGEST:
        raise UsageError(f"a waiver holds for at most {LONGEST.days} days", next_step="--valid 30d")
    waiver = Waiver(
        artifact=verdict.artifact,
        rule=rule,
        rule_digest=rule_digest(compiled),
        circumstances=_circumstances(deployment, judged, record),
        saw={name: value for name, value in result.saw.items() if value is not None},
        by=by,
        reason=reason,
        at=now,
        expires=now + valid,
    )
    envelope = deployment.sealer(Role.APPROVER).seal(waiver_document(waiver))
    signed = open_waiver(envelope, deployment.anchor.keys_of(Role.APPROVER))
    deployment.workspace.add_waiver(envelope, artifact=waiver.artifact, at=now)
    deployment.raise_mark(now)
    return signed


def _failing(
    deployment: Deployment, judged: Certification, verdict: Verdict, rule: str
) -> tuple[CompiledRule, RuleResult]:
    policy = deployment.project.policy
    pairs = {c.rule.id: (c, r) for c, r in zip(policy.rules, verdict.results, strict=True)}
    if rule not in pairs:
        raise UsageError(f"the policy has no rule {rule!r}", where="--rule", next_step=f"one of: {', '.join(pairs)}")
    compiled, result = pairs[rule]
    named = shlex.quote(judged.source)
    step = result.next_step.replace("{source}", named).replace("{artifact}", verdict.artifact)
    protects = protection(compiled)
    if protects is not None:
        term, what = protects
        why = "nobody has classified it" if what is None else f"it protects {what.value}"
        raise UsageError(f"{rule} speaks of {term}, which no waiver reaches: {why}", next_step=step)
    if result.outcome is Outcome.INDETERMINATE:
        raise UsageError(
            f"{rule} is INDETERMINATE: a waiver accepts what was seen, not what was not: {result.explanation}",
            next_step=step,
        )
    if result.outcome is Outcome.PASS:
        raise UsageError(f"{rule} passes: there is nothing to waive", next_step=f"peft-assay certify {named}")
    return compiled, result


def withdraw(deployment: Deployment, source: Located, envelope: str, *, clock: Clock) -> Digest:
    """Takes a waiver of `source` out of force, and gives its digest: what was certified on it is denied from now on.

    Raises UsageError when it has no such waiver.
    """
    now = clock()
    deployment.raise_mark(now)
    artifact = admit(source.found()).artifact.digest
    match = next((w.envelope for w in waivers_of(deployment, artifact) if w.envelope == envelope), None)
    if match is None:
        named = shlex.quote(source.shown)
        raise UsageError("there is no such waiver", where=envelope, next_step=f"peft-assay waive {named} --list")
    deployment.workspace.withdraw_waiver(match, artifact=artifact, at=now)
    deployment.raise_mark(now)
    return artifact
