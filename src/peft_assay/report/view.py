"""What the HTML template shows of one report, selected and put in order; escaping happens when it is shown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from peft_assay.core.observation import Observation, Value
from peft_assay.core.verdict import Outcome, RuleResult
from peft_assay.core.waiver import Waiver
from peft_assay.report.comparison import Comparison, comparisons
from peft_assay.report.control_map import ControlMap, Given, evidence_given
from peft_assay.report.figures import Forest, SuiteResult, difference_forest, rate_forest, suite_results
from peft_assay.report.interface import CertificationReport, Sample, next_step
from peft_assay.report.lengths import lengths_line
from peft_assay.report.sink import json_lines
from peft_assay.report.unshown import unshown_line

MAX_SAMPLES = 30
GLYPHS: Mapping[Outcome, str] = {
    Outcome.PASS: "✓",
    Outcome.FAIL: "✕",
    Outcome.INDETERMINATE: "?",
    Outcome.REFUSED: "⊘",
    Outcome.WITHHELD: "⊘",
    Outcome.WAIVED: "≈",
}
SENTENCES: Mapping[Outcome, str] = {
    Outcome.PASS: "Admitted: every rule of the policy holds for what was observed.",
    Outcome.FAIL: "Not admitted: what was observed contradicts the policy.",
    Outcome.INDETERMINATE: "Not admitted: the policy cannot be decided, evidence is missing.",
    Outcome.WITHHELD: "Not admitted: the policy passes, but a withdrawal in force, or the gate, forbids to certify it.",
    Outcome.REFUSED: "Not admitted: the source cannot become an artifact, so nothing was examined.",
}
UNCERTIFIED = "Every rule of the policy holds for what was observed, and there is no certificate for today's context."
WITH_WAIVERS = "Admitted with waivers: what the waived rules deny was seen and accepted by an approver, for a while."


@dataclass(frozen=True, slots=True)
class RuleView:
    """One row of the rule table."""

    id: str
    outcome: Outcome
    glyph: str
    decides: bool
    assertion: str
    saw: tuple[tuple[str, Value | None], ...]
    explanation: str
    next_step: str
    waiver: Waiver | None


@dataclass(frozen=True, slots=True)
class AdapterView:
    """One adapter's section."""

    anchor: str
    tone: str
    """What it is coloured as: the outcome, or WAIVED where the outcome stands on waivers."""
    glyph: str
    sentence: str
    report: CertificationReport
    facts: tuple[tuple[str, object], ...]
    rules: tuple[RuleView, ...]
    unmeasured: tuple[tuple[str, str], ...]
    """Suites without a result, by the reason they share."""
    forests: tuple[Forest, ...]
    comparisons: tuple[Comparison, ...]
    samples: tuple[Sample, ...]
    samples_left_out: int
    unshown: tuple[str, ...]
    """Why answers to suites are not among the samples."""
    observations: tuple[Observation, ...]
    tested: tuple[str, ...]
    lock_lines: tuple[str, ...]
    attestation_lines: tuple[str, ...]
    evidence: tuple[Given, ...]


def adapter_view(report: CertificationReport, index: int, controls: ControlMap | None = None) -> AdapterView:
    """The view of `report`, the `index`-th in its file; with its evidence by control where a map is given."""
    suites = () if report.observations is None else suite_results(report.observations)
    parameters = report.parameters or {}
    tone = Outcome.WAIVED if report.outcome is Outcome.PASS and report.waivers else report.outcome
    measured = any(suite.rate is not None for suite in suites)
    forests = (rate_forest(suites, parameters), difference_forest(suites, parameters)) if measured else ()
    return AdapterView(
        anchor=f"adapter-{index}",
        tone=tone.value,
        glyph=GLYPHS[tone],
        sentence=_sentence(report),
        report=report,
        facts=tuple(_facts(report)),
        rules=() if report.verdict is None else tuple(_rule(r, report) for r in report.verdict.results),
        unmeasured=tuple(_unmeasured(suites)),
        forests=forests,
        comparisons=() if report.observations is None else comparisons(report.observations),
        samples=report.samples[:MAX_SAMPLES],
        samples_left_out=max(len(report.samples) - MAX_SAMPLES, 0),
        unshown=tuple(unshown_line(item) for item in report.unshown),
        observations=() if report.observations is None else report.observations.observations,
        tested=tuple(_tested(report, suites)),
        lock_lines=() if report.lock is None else tuple(json_lines(report.lock.document)),
        attestation_lines=() if report.attestation is None else tuple(json_lines(report.attestation)),
        evidence=() if controls is None else evidence_given(controls, report),
    )


def _unmeasured(suites: Sequence[SuiteResult]) -> list[tuple[str, str]]:
    problems: dict[str, list[str]] = {}
    for suite in suites:
        if suite.problem:
            problems.setdefault(suite.problem, []).append(suite.suite)
    return [(", ".join(names), problem) for problem, names in problems.items()]


def _rule(result: RuleResult, report: CertificationReport) -> RuleView:
    return RuleView(
        id=result.rule,
        outcome=result.outcome,
        glyph=GLYPHS[result.outcome],
        decides=result is report.deciding,
        assertion=result.assertion,
        saw=tuple(result.saw.items()),
        explanation=result.explanation,
        next_step="" if result.outcome in (Outcome.PASS, Outcome.WAIVED) else next_step(result, report),
        waiver=next((waiver for waiver in report.waivers if waiver.envelope == result.waiver), None),
    )


def _sentence(report: CertificationReport) -> str:
    if report.outcome is Outcome.PASS and report.certificate is None:
        return UNCERTIFIED
    return WITH_WAIVERS if report.waivers else SENTENCES[report.outcome]


def _facts(report: CertificationReport) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [("source", report.source), ("context", report.context)]
    if report.alias is not None:
        facts.insert(0, ("alias", report.alias))
    if report.verdict is not None and report.observations is not None:
        facts += [
            ("artifact", report.verdict.artifact),
            ("lock", report.verdict.lock),
            ("policy", report.verdict.policy),
            ("observed", report.observations.observed_at),
            ("attempts", report.attempts),
        ]
    if report.certificate is None:
        facts.append(("certificate", "none was issued"))
    else:
        facts += [
            ("certificate", report.certificate.envelope),
            ("valid until", report.certificate.not_after),
            ("signed by key", report.certificate.keyid),
        ]
    return facts


def _tested(report: CertificationReport, suites: Sequence[SuiteResult]) -> list[str]:
    """What the verdict rests on, in words; what was not observed is not said."""
    if report.observations is None or report.artifact is None:
        return []
    measured = {o.name: o.value for o in report.observations.observations if o.value is not None}
    lines = []
    for suite in suites:
        if suite.n is not None:
            after = "early" if suite.asked is None else f"after {suite.asked}"
            early = "" if suite.complete else f"; stopped {after}, cases not asked count as failures"
            lines.append(f"{suite.n} cases of the suite {suite.suite}, with and without the adapter{early}")
    if "scan.tokens" in measured:
        lines.append(f"{measured['scan.tokens']} declared tokens inserted one at a time")
    if "scan.ids" in measured:
        left = measured.get("scan.unscanned", "an unknown number")
        lines.append(f"{measured['scan.ids']} tokens that no text reaches inserted by their ids, {left} left out")
    if lengths := lengths_line(report):
        lines.append(lengths)
    if "sandbox.level" in measured:
        lines.append(
            f"in a sandbox whose start-up attacks showed isolation level {measured['sandbox.level']}, "
            f"with {measured.get('sandbox.events', 'unknown')} events"
        )
    size = sum(file.size for file in report.artifact.files)
    lines.append(f"{len(report.artifact.files)} files, {size:,} bytes, each hashed as it was read")
    return lines
