"""What was attested, in CycloneDX's terms: a policy is a standard, its rules are requirements, verdicts are claims.

A rule that passes is a claim with its evidence; one that fails is a counter-claim; one that is waived is a
counter-claim with the waiver as mitigation; one that cannot be decided makes no claim.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from peft_assay.core.verdict import Outcome, RuleResult, Verdict
from peft_assay.report import sink
from peft_assay.report.cyclonedx_components import reference_of
from peft_assay.report.interface import BillEntry

ASSESSOR = "assessor:authority"


def standards(entries: Sequence[BillEntry]) -> Iterator[dict[str, Any]]:
    """Each policy once."""
    seen: set[str] = set()
    for entry in entries:
        verdict = entry.report.verdict
        if verdict is None or verdict.policy in seen:
            continue
        seen.add(verdict.policy)
        yield {
            "bom-ref": f"policy:{verdict.policy}",
            "name": entry.policy_id,
            "version": verdict.policy,
            "description": "admissibility policy of the consumer",
            "requirements": [
                {
                    "bom-ref": _requirement(verdict, result),
                    "identifier": result.rule,
                    "title": result.rule,
                    "text": result.assertion,
                }
                for result in verdict.results
            ],
        }


def declarations(entries: Sequence[BillEntry], *, version: str) -> dict[str, Any]:
    """Who assessed, what is claimed of each adapter, and the evidence, each by the digest of its signed envelope."""
    return {
        "assessors": [{"bom-ref": ASSESSOR, "thirdParty": False, "organization": {"name": f"peft-assay {version}"}}],
        "attestations": [attestation for entry in entries if (attestation := _attestation(entry)) is not None],
        "claims": [claim for entry in entries for claim in _claims(entry)],
        "evidence": [evidence for entry in entries for evidence in _evidence(entry)],
    }


def _attestation(entry: BillEntry) -> dict[str, Any] | None:
    verdict = entry.report.verdict
    if verdict is None:
        return None
    return {
        "summary": f"{entry.report.adapter}: {entry.report.outcome.value} under policy {entry.policy_id}",
        "assessor": ASSESSOR,
        "map": [_mapped(entry, verdict, result) for result in verdict.results],
    }


def _mapped(entry: BillEntry, verdict: Verdict, result: RuleResult) -> dict[str, Any]:
    claim = _claim(entry, result)
    mapped: dict[str, Any] = {"requirement": _requirement(verdict, result)}
    match result.outcome:
        case Outcome.PASS:
            return {
                **mapped,
                "claims": [claim],
                "conformance": {"score": 1, "rationale": result.explanation or "holds"},
            }
        case Outcome.WAIVED:
            waived = {"score": 0, "rationale": result.explanation, "mitigationStrategies": [f"waiver:{result.waiver}"]}
            return {**mapped, "counterClaims": [claim], "conformance": waived}
        case Outcome.FAIL:
            return {**mapped, "counterClaims": [claim], "conformance": {"score": 0, "rationale": result.explanation}}
        case _:
            return {**mapped, "confidence": {"score": 0, "rationale": result.explanation}}


def _claims(entry: BillEntry) -> Iterator[dict[str, Any]]:
    results = () if entry.report.verdict is None else entry.report.verdict.results
    for result in results:
        if result.outcome is Outcome.INDETERMINATE:
            continue
        yield {
            "bom-ref": _claim(entry, result),
            "target": reference_of(entry, entry.lineage.nodes[0]),
            "predicate": f"{result.outcome.value}: {result.assertion}",
            "reasoning": "; ".join(f"{name} = {sink.plain(value)}" for name, value in result.saw.items()),
            "evidence": [_observation(entry)],
        }


def _evidence(entry: BillEntry) -> Iterator[dict[str, Any]]:
    report = entry.report
    if report.observations is not None:
        yield {
            "bom-ref": _observation(entry),
            "propertyName": "peft-assay:observation",
            "description": "behavioural observation, signed by the sandbox",
            "data": [_named(entry.observation)],
            "created": sink.instant(report.observations.observed_at),
        }
    if report.certificate is not None:
        yield {
            "bom-ref": f"certificate:{report.certificate.envelope}",
            "propertyName": "peft-assay:certification",
            "description": "certification, signed by the authority",
            "data": [_named(report.certificate.envelope)],
            "created": sink.instant(report.certificate.issued_at),
            "expires": sink.instant(report.certificate.not_after),
        }
    for waiver in report.waivers:
        yield {
            "bom-ref": f"waiver:{waiver.envelope}",
            "propertyName": "peft-assay:waiver",
            "description": f"{waiver.rule} waived by {waiver.by}: {waiver.reason}",
            "data": [_named(waiver.envelope or "")],
            "created": sink.instant(waiver.at),
            "expires": sink.instant(waiver.expires),
        }


def _named(envelope: str) -> dict[str, Any]:
    return {"name": "DSSE envelope", "contents": {"url": f"peft-assay:envelope:{envelope}"}}


def _observation(entry: BillEntry) -> str:
    return f"observation:{entry.observation}"


def _requirement(verdict: Verdict, result: RuleResult) -> str:
    return f"rule:{verdict.policy}:{result.rule}"


def _claim(entry: BillEntry, result: RuleResult) -> str:
    return f"claim:{entry.lineage.nodes[0].id}:{result.rule}"
