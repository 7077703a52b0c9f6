"""From what the pipeline knows to what renderers are given."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from peft_assay.certify.issue import Withheld
from peft_assay.core.artifact import CONFIG_FILE, Artifact
from peft_assay.core.certificate import Certificate
from peft_assay.core.context import Lock
from peft_assay.core.digest import Digest, parse_digest, sha256
from peft_assay.core.errors import Door, IntakeError, StorageError, UsageError
from peft_assay.core.parse import parse_json
from peft_assay.core.statement import VSA
from peft_assay.core.suite import Suite, last_user_text
from peft_assay.core.verdict import Outcome
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.gate.authorize import deciding, explain
from peft_assay.gate.interface import Check, State
from peft_assay.intake.admit import admit
from peft_assay.pipeline.certify import Certification, door_of
from peft_assay.pipeline.deployment import Deployment, utc_now
from peft_assay.pipeline.evidence import attempts_in, gather
from peft_assay.pipeline.place import Place
from peft_assay.pipeline.sources import Located, names_of, short_name
from peft_assay.pipeline.surface import alias_of
from peft_assay.pipeline.verify import Verification
from peft_assay.pipeline.waivers import with_waivers
from peft_assay.report.interface import (
    CertificationReport,
    Reason,
    Refusal,
    Sample,
    Stage,
    Unshown,
    VerificationReport,
)
from peft_assay.trust.certification import certificate_of
from peft_assay.trust.envelope import open_envelope
from peft_assay.trust.observations import ObservationRecord
from peft_assay.trust.roles import Role

PUBLIC = "public"
"""The confidentiality of suites whose answers are kept as they are."""
MAX_SAMPLES = 12
"""Samples a report shows for each suite."""


def certification_report(deployment: Deployment, done: Certification, at: datetime) -> CertificationReport:
    """All that can be said of one result of `certify`."""
    project = deployment.project
    refusal = None
    if done.refusal is not None:
        stage = Stage.INTAKE if isinstance(done.refusal, IntakeError) else Stage.OBSERVATION
        refusal = Refusal(done.refusal.message, done.refusal.where, done.refusal.next_step or "", stage)
    return CertificationReport(
        title=f"{project.context.name}: {project.context.purpose}",
        adapter=done.name,
        source=done.source,
        alias=alias_of(done.source, project.document, project.path),
        context=project.context.name,
        generated_at=at,
        verdict=done.verdict,
        observations=None if done.record is None else done.record.observations,
        artifact=done.artifact,
        lock=done.lock,
        refusal=refusal,
        withheld=None
        if done.withheld is None
        else Refusal(done.withheld.message, None, deployment.place.about(done.withheld.next_step or "", done.source)),
        parameters=project.policy.parameters,
        attestation=None if done.record is None else done.record.attestation,
        samples=() if done.record is None else tuple(_samples(deployment, done.record)),
        unshown=() if done.record is None else tuple(_unshown(deployment, done.record)),
        certificate=_certificate(deployment, done),
        attempts=max(done.attempts, 1),
        waivers=done.waivers,
        verify_commands=(deployment.place.again(f"peft-assay verify {shlex.quote(done.source)}"),),
        reused=done.reused,
        options=deployment.place.options,
    )


def _certificate(deployment: Deployment, done: Certification) -> Certificate | None:
    if done.certificate is None:
        return None
    envelope = deployment.workspace.blobs.get(done.certificate)
    keys = deployment.anchor.keys_of(Role.AUTHORITY)
    return certificate_of(open_envelope(envelope, keys, predicate_type=VSA))


def _samples(deployment: Deployment, record: ObservationRecord) -> Iterator[Sample]:
    """Cases of public suites where adapter and base answered differently: failures of the adapter first."""
    evidence = evidence_behind(deployment, record)
    for suite in deployment.project.suites:
        cases = [case for case in evidence.get("suites", {}).get(suite.id, ()) if case["text"] != case["baseText"]]
        cases.sort(key=lambda case: case["passed"])
        yield from _suite_samples(suite, cases[:MAX_SAMPLES])


def _suite_samples(suite: Suite, cases: Sequence[Mapping[str, Any]]) -> Iterator[Sample]:
    by_id = {case.id: case for case in suite.cases}
    for case in cases:
        asked = by_id.get(case["case"])
        if asked is None:
            continue
        expected = asked.expected if asked.answer is None else asked.choices[asked.answer]
        yield Sample(
            suite.id, asked.id, last_user_text(asked.prompt), case["baseText"], case["text"], expected, case["passed"]
        )


def _unshown(deployment: Deployment, record: ObservationRecord) -> Iterator[Unshown]:
    """Suites whose answers nobody kept, with the cases that failed: their ids are the suite owner's own."""
    evidence = evidence_behind(deployment, record).get("suites", {})
    for suite in deployment.project.suites:
        if suite.confidentiality != PUBLIC and suite.id in evidence:
            ids = {case.id for case in suite.cases}
            failed = (case["case"] for case in evidence[suite.id] if not case["passed"])
            yield Unshown(suite.id, suite.confidentiality, tuple(case for case in failed if case in ids))


def evidence_behind(deployment: Deployment, record: ObservationRecord) -> Mapping[str, Any]:
    """The stored record of answers that observations point at; empty where there is none."""
    digest = next((o.evidence for o in record.observations.observations if o.evidence is not None), None)
    if digest is None:
        return {}
    document: Mapping[str, Any] = parse_json(deployment.workspace.blobs.get(digest), where=f"evidence {digest}")
    return document


def verification_report(done: Verification, place: Place) -> VerificationReport:
    """What the gate says, in one line and one next step."""
    if done.refusal is not None:
        refusal = done.refusal
        return VerificationReport(
            done.name,
            done.source,
            Door.REFUSED,
            None,
            "intake",
            str(refusal),
            place.again(refusal.next_step or ""),
        )
    failed = deciding(done.checks)
    if failed is None:
        return VerificationReport(
            done.name,
            done.source,
            Door.PASSED,
            done.certificate,
            None,
            "every check holds",
            "",
            attempts=done.attempts,
            lengths=done.lengths,
            list_until=done.list_until,
            renewal=place.again("peft-assay revoke --refresh"),
        )
    reasons = tuple(
        Reason(check.name, _message(check, done.differences), check.state is State.FAILED)
        for check in done.checks
        if check.state is not State.HELD
    )
    return VerificationReport(
        done.name,
        done.source,
        done.door,
        None,
        failed.name,
        _message(failed, done.differences),
        place.about(failed.next_step or "", done.source),
        reasons,
        done.attempts,
    )


def _message(check: Check, differences: Sequence[str]) -> str:
    """What the check says; of a missing certificate also where the context differs from the one that was certified."""
    changed = f" (now different: {', '.join(differences)})" if differences and check.name == "certificate" else ""
    return f"{check.message}{changed}"


def recorded(deployment: Deployment, sources: Sequence[Located]) -> list[Certification]:
    """What the workspace knows of `sources` (none: of every adapter ever judged in it).

    For each it is the judgement in today's context, or, where there is none, the newest.

    The verdict is evaluated again from the stored observations: evaluation is pure. Raises UsageError when there is
    nothing to report.
    """
    deployment.look(utc_now())
    wanted = {admit(source.found()).artifact.digest: source for source in sources}
    names = dict(zip(wanted, names_of(list(wanted.values())), strict=True))
    judged = _judged(deployment)
    found = [
        _recorded(deployment, artifact, locks, wanted.get(artifact), names.get(artifact))
        for artifact, locks in judged.items()
        if (artifact in wanted if sources else _is_adapter(deployment, artifact))
    ]
    missing = [source.shown for artifact, source in wanted.items() if artifact not in judged]
    if missing or not found:
        what = ", ".join(missing) or "this workspace"
        raise UsageError(f"nothing was certified or denied yet: {what}", next_step="peft-assay certify SOURCE")
    return found


def _is_adapter(deployment: Deployment, digest: Digest) -> bool:
    """Whether it has an adapter's configuration; a base or another folder, certified by mistake, has none."""
    kept = deployment.workspace.artifact(digest)
    return kept is None or any(file.path == CONFIG_FILE for file in kept.files)


def _judged(deployment: Deployment) -> dict[Digest, list[Digest]]:
    """Artifact -> locks that it was judged under, oldest first, from the ledger."""
    found: dict[Digest, list[Digest]] = {}
    for entry in deployment.workspace.history():
        if entry.kind.value == "verdict":
            artifact = parse_digest(entry.happened["artifact"])
            found.setdefault(artifact, []).append(parse_digest(entry.happened["lock"]))
    return found


def _recorded(
    deployment: Deployment, digest: Digest, locks: Sequence[Digest], source: Located | None, name: str | None
) -> Certification:
    workspace = deployment.workspace
    kept: Artifact | None = workspace.artifact(digest)
    if kept is None:
        raise StorageError(f"the record of {digest} is incomplete", next_step="certify it again")
    today = gather(deployment, kept, workspace.files(kept), None).lock.digest
    lock = today if today in locks else locks[-1]
    document = Lock(parse_json(workspace.blobs.get(lock), where=f"lock {lock}"))
    record = deployment.observed(digest, document.conditions)
    if record is None:
        raise StorageError(f"the record of {digest} is incomplete", next_step="certify it again")
    policy = deployment.project.policy
    judged = evaluate(policy, record.observations, lock)
    verdict, waivers = with_waivers(deployment, policy, judged, document, utc_now())
    where = source.shown if source is not None else workspace.source_of(digest) or digest
    certificate, withheld = None, None
    if verdict.outcome is Outcome.PASS:
        certificate, withheld = _standing(deployment, kept, lock)
    outcome = verdict.outcome if withheld is None else Outcome.WITHHELD
    return Certification(
        name or short_name(Path(where)),
        where,
        outcome,
        door_of(outcome, record),
        artifact=kept,
        lock=document,
        verdict=verdict,
        record=record,
        certificate=certificate,
        withheld=withheld,
        attempts=workspace.attempts(digest) if certificate is None else _attempts(deployment, certificate),
        waivers=waivers,
    )


def _attempts(deployment: Deployment, certificate: Digest) -> int:
    return attempts_in(deployment, deployment.workspace.blobs.get(certificate))


def _standing(deployment: Deployment, artifact: Artifact, lock: Digest) -> tuple[Digest | None, Withheld | None]:
    """What the gate says now of what the policy passes: its certificate, or the hold on it, or neither."""
    evidence = gather(deployment, artifact, deployment.workspace.files(artifact), None)
    checks = explain(evidence, deployment.anchor, utc_now())
    failed = deciding(checks)
    if failed is None and evidence.lock.digest == lock:
        return sha256(evidence.certificates[0]), None
    if failed is not None and failed.name == "withdrawn":
        return None, Withheld(failed.message, next_step=failed.next_step)
    return None, None
