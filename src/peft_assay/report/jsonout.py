"""JSON renderings for programs: stable keys, values as they are (escaped by JSON itself, never shortened)."""

from collections.abc import Mapping, Sequence
from typing import Any

from peft_assay.core.artifact import Artifact
from peft_assay.core.certificate import Certificate
from peft_assay.core.errors import Door
from peft_assay.core.observation import Value
from peft_assay.core.verdict import RuleResult
from peft_assay.report import sink
from peft_assay.report.exercised import exercised_values
from peft_assay.report.inspection_findings import examine
from peft_assay.report.interface import (
    CertificationReport,
    Declared,
    Discovered,
    Finding,
    Inspected,
    InspectionReport,
    Inventory,
    Refused,
    VerificationReport,
    next_step,
)
from peft_assay.report.lengths import served_lengths, tested_lengths
from peft_assay.report.waivers import waiver_document

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
        "generatedAt": sink.instant(report.generated_at),
        "outcome": report.outcome.value,
        "door": report.door.value,
        "decidingRule": None if deciding is None else deciding.rule,
        "reason": report.reason,
        "nextStep": report.next_step,
        "rules": [] if verdict is None else [_rule(result, report) for result in verdict.results],
        "artifact": None if report.artifact is None else _artifact(report.artifact),
        "lock": None if verdict is None else verdict.lock,
        "policy": None if verdict is None else verdict.policy,
        "observedAt": None if report.observations is None else sink.instant(report.observations.observed_at),
        "isolation": report.isolation,
        "attempts": report.attempts,
        "reused": report.reused,
        "behaviour": _values(exercised_values(report)),
        "testedLengths": _values(tested_lengths(report)),
        "servedLengths": None if (served := served_lengths(report)) is None else served.document(),
        "waivers": [waiver_document(waiver) for waiver in report.waivers],
        "certificate": _certificate(report.certificate),
    }


def _rule(result: RuleResult, report: CertificationReport) -> dict[str, Any]:
    return {
        "id": result.rule,
        "outcome": result.outcome.value,
        "assertion": result.assertion,
        "explanation": result.explanation,
        "saw": _values(result.saw),
        "waiver": result.waiver,
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
        "observedAt": sink.instant(certificate.observed_at),
        "issuedAt": sink.instant(certificate.issued_at),
        "notAfter": sink.instant(certificate.not_after),
        "keyid": certificate.keyid,
        "waivers": dict(certificate.waivers),
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
        "attempts": report.attempts,
        "servedLengths": None if report.lengths is None else report.lengths.document(),
        "certificate": _certificate(report.certificate),
        "revocationListUntil": None if report.list_until is None else sink.instant(report.list_until),
    }


def inspection(reports: Sequence[Inspected], *, listed: bool) -> sink.Rendered:
    """What can be read of sources without loading anything: the one document, or with `listed` a list of them."""
    documents = [_refused(report) if isinstance(report, Refused) else _inspected(report) for report in reports]
    return sink.json_text(documents if listed else documents[0])


def _refused(report: Refused) -> dict[str, Any]:
    refusal = report.refusal
    error = {"message": refusal.message, "where": refusal.where, "nextStep": refusal.next_step}
    return {"format": FORMAT, "source": report.source, "door": int(Door.REFUSED), "error": error}


def _inspected(report: InspectionReport) -> dict[str, Any]:
    found = examine(report)
    return {
        "format": FORMAT,
        "source": report.source,
        "door": int(Door.PASSED),
        "kind": report.kind,
        "declared": _declared(report.declared),
        "findings": [_finding(finding) for finding in found.findings],
        "clean": list(found.clean),
        "notAsked": list(found.left_out),
        "artifact": _artifact(report.artifact),
        "observations": [observation.document() for observation in report.observations],
    }


def _declared(declared: Declared) -> dict[str, Any]:
    return {
        "peftType": declared.peft_type,
        "base": declared.base,
        "numbers": dict(declared.numbers),
        "targetModules": list(declared.targets),
        "tensors": declared.tensors,
        "parameters": declared.parameters,
        "licence": declared.licence,
        "datasets": list(declared.datasets),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "severity": finding.severity.value,
        "message": finding.message,
        "places": [{"file": spot.file or None, "field": spot.field or None} for spot in finding.spots],
        "implied": list(finding.implied),
        "nextStep": finding.next_step,
    }


def inventory(found: Inventory) -> sink.Rendered:
    """What `discover` found, and how far the walk came."""
    return sink.json_text(
        {
            "format": FORMAT,
            "places": list(found.places),
            "found": [_discovered(entry) for entry in found.found],
            "folders": found.folders,
            "unread": list(found.unread),
            "stopped": found.stopped,
            "tooDeep": found.shallow,
        }
    )


def _discovered(entry: Discovered) -> dict[str, Any]:
    return {
        "path": entry.path,
        "kind": entry.kind,
        "usable": entry.usable,
        "peftType": entry.peft_type,
        "base": entry.base,
        "size": entry.size,
        "files": entry.files,
        "remarks": list(entry.remarks),
        "repository": entry.repository,
        "commit": entry.commit,
        "references": list(entry.references),
    }
