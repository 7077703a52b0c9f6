"""JSON renderings for programs: stable keys, values as they are (escaped by JSON itself, never shortened)."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from peft_assay.core.artifact import Artifact
from peft_assay.core.certificate import Certificate
from peft_assay.core.observation import Value
from peft_assay.core.verdict import RuleResult
from peft_assay.report import sink
from peft_assay.report.interface import CertificationReport, InspectionReport, VerificationReport, next_step

FORMAT = "peft-assay/report/v1"
"""Fields may be added within a version; what a field means never changes within one."""


def certification(reports: Sequence[CertificationReport]) -> sink.Rendered:
    """What `certify` found: a list with one entry per adapter, in the order given."""
    return sink.json_text([_adapter(report) for report in reports])


def _adapter(report: CertificationReport) -> dict[str, Any]:
    verdict, deciding = report.verdict, report.deciding
    return {
        "format": FORMAT,
        "adapter": report.adapter,
        "source": report.source,
        "context": report.context,
        "generatedAt": _time(report.generated_at),
        "outcome": report.outcome.value,
        "door": report.door.value,
        "decidingRule": None if deciding is None else deciding.rule,
        "reason": report.reason,
        "nextStep": report.next_step,
        "rules": [] if verdict is None else [_rule(result, report) for result in verdict.results],
        "artifact": None if report.artifact is None else _artifact(report.artifact),
        "lock": None if verdict is None else verdict.lock,
        "policy": None if verdict is None else verdict.policy,
        "observedAt": None if report.observations is None else _time(report.observations.observed_at),
        "isolation": report.isolation,
        "attempts": report.attempts,
        "certificate": _certificate(report.certificate),
    }


def _rule(result: RuleResult, report: CertificationReport) -> dict[str, Any]:
    return {
        "id": result.rule,
        "outcome": result.outcome.value,
        "assertion": result.assertion,
        "explanation": result.explanation,
        "saw": _values(result.saw),
        "nextStep": next_step(result, report),
    }


def _values(values: Mapping[str, Value | None]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _artifact(artifact: Artifact) -> dict[str, Any]:
    return {"digest": artifact.digest, **artifact.manifest()}


def _certificate(certificate: Certificate | None) -> dict[str, Any] | None:
    if certificate is None:
        return None
    return {
        "envelope": certificate.envelope,
        "artifact": certificate.artifact,
        "lock": certificate.lock,
        "policy": certificate.policy,
        "observations": list(certificate.observations),
        "observedAt": _time(certificate.observed_at),
        "issuedAt": _time(certificate.issued_at),
        "notAfter": _time(certificate.not_after),
        "keyid": certificate.keyid,
    }


def verification(reports: Sequence[VerificationReport]) -> sink.Rendered:
    """What the gate says: a list with one entry per adapter, in the order given."""
    return sink.json_text([_verification(report) for report in reports])


def _verification(report: VerificationReport) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "adapter": report.adapter,
        "source": report.source,
        "valid": report.check is None,
        "door": report.door.value,
        "check": report.check,
        "message": report.message,
        "reasons": [
            {"check": reason.check, "message": reason.message, "reached": reason.reached} for reason in report.reasons
        ],
        "nextStep": report.next_step,
        "certificate": _certificate(report.certificate),
    }


def inspection(report: InspectionReport) -> sink.Rendered:
    """What can be read of a source without loading anything."""
    return sink.json_text(
        {
            "format": FORMAT,
            "source": report.source,
            "kind": report.kind,
            "artifact": _artifact(report.artifact),
            "observations": [observation.document() for observation in report.observations],
        }
    )


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
