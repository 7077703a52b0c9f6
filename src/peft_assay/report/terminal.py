"""Terminal renderings: a table for people at a screen, stable lines for logs and pipes."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from peft_assay.core.verdict import Outcome
from peft_assay.report import sink
from peft_assay.report.exercised import exercised_line
from peft_assay.report.interface import CertificationReport, VerificationReport
from peft_assay.report.lengths import lengths_line, served_line
from peft_assay.report.unshown import suite_lines
from peft_assay.report.waivers import waived_line

STYLES: Mapping[Outcome, str] = {
    Outcome.PASS: "bold green",
    Outcome.FAIL: "bold red",
    Outcome.INDETERMINATE: "bold yellow",
    Outcome.REFUSED: "bold magenta",
    Outcome.WITHHELD: "bold magenta",
    Outcome.WAIVED: "bold yellow",
}
_PLAIN_WIDTH = 10_000
"""Pipes get one line per fact, never wrapped: what reads them splits at newlines."""


def certification(reports: Sequence[CertificationReport], *, tty: bool, width: int = 100) -> sink.Rendered:
    """Adapters with outcome, deciding rule and next step; then why, for each that was not admitted."""
    if not tty:
        return sink.Rendered("".join(_plain_certification(report) for report in reports))
    table = _table("adapter", "outcome", "rule", "next")
    for report in reports:
        table.add_row(
            sink.cell(report.adapter, "bold"),
            sink.cell(report.outcome.value, STYLES[report.outcome]),
            sink.cell(_rule(report)),
            sink.cell(report.next_step, "dim"),
        )
    parts: list[RenderableType] = [table]
    for report in reports:
        if report.reason:
            parts += [
                sink.cell(""),
                sink.cell(f"{report.adapter}: {_rule(report)}", STYLES[report.outcome]),
                sink.cell(f"  {report.reason}"),
            ]
        for line in _aside(report):
            parts.append(sink.cell(f"{report.adapter}: {line}", "dim"))
        for waiver in report.waivers:
            parts.append(sink.cell(f"{report.adapter}: waived: {waived_line(waiver)}", STYLES[Outcome.WAIVED]))
    parts += [sink.cell(""), sink.cell(_summary(reports))]
    return sink.drawn(Group(*parts), width=width, colour=True)


def _plain_certification(report: CertificationReport) -> str:
    lines = [sink.phrase("{} {} {}", f"{report.outcome.value:<13}", f"{report.adapter:<24}", _rule(report) or "-")]
    if report.reason:
        lines.append(sink.phrase("  why:  {}", report.reason))
    if report.next_step:
        lines.append(sink.phrase("  next: {}", report.next_step))
    lines.extend(sink.phrase("  waived: {}", waived_line(waiver)) for waiver in report.waivers)
    lines.extend(sink.phrase("  {}", line) for line in _aside(report))
    if report.certificate is not None:
        certificate = report.certificate
        lines.append(sink.phrase("  certificate: {} until {}", certificate.envelope, certificate.not_after))
    if report.isolation is not None:
        lines.append(sink.phrase("  isolation level: {}", report.isolation))
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _aside(report: CertificationReport) -> Iterator[str]:
    """What the suites measured where that decides, what else was exercised, whether anything was run for it at all."""
    yield from suite_lines(report)
    if exercised := exercised_line(report):
        yield f"behaviour: {exercised}"
    if lengths := lengths_line(report):
        yield f"lengths: {lengths}"
    if report.reused and report.observations is not None:
        yield f"observed: {sink.plain(report.observations.observed_at)}, kept; nothing was run again"


def _rule(report: CertificationReport) -> str:
    if report.refusal is not None:
        return report.refusal.stage.value
    return "" if report.deciding is None else report.deciding.rule


def _summary(reports: Sequence[CertificationReport]) -> str:
    outcomes = [report.outcome for report in reports]
    counts = [f"{outcomes.count(outcome)} {outcome.value}" for outcome in Outcome if outcome in outcomes]
    levels = sorted({report.isolation for report in reports if report.isolation is not None})
    where = f"; isolation level: {', '.join(levels)}" if levels else ""
    kept = sum(report.reused for report in reports)
    reused = f"; {kept} on kept observations" if kept else ""
    return ", ".join(counts) + where + reused if counts else "nothing was examined"


def rules(report: CertificationReport, *, tty: bool, width: int = 100) -> sink.Rendered:
    """Every rule of one report with its outcome; at a screen also what it saw."""
    results = () if report.verdict is None else report.verdict.results
    if not tty:
        lines = [
            sink.phrase("{} {} {}", f"{result.outcome.value:<13}", f"{result.rule:<20}", result.explanation).rstrip()
            for result in results
        ]
        return sink.Rendered("".join(f"{line}\n" for line in lines))
    table = _table("rule", "outcome", "saw", "why")
    for result in results:
        table.add_row(
            sink.cell(result.rule, "bold"),
            sink.cell(result.outcome.value, STYLES[result.outcome]),
            Group(*(sink.cell(f"{name} = {sink.plain(value)}", "dim") for name, value in result.saw.items())),
            sink.cell(result.explanation),
        )
    return sink.drawn(table, width=width, colour=True)


def verification(report: VerificationReport, *, tty: bool, width: int = 100) -> sink.Rendered:
    """Whether the gate would let the adapter be active, and if not, which check says no."""
    valid = report.check is None
    lines = [sink.cell(f"{'VALID' if valid else 'DENIED':<13} {report.adapter}", "bold green" if valid else "bold red")]
    if report.check is not None:
        lines.append(sink.cell(f"  check: {report.check}: {report.message}"))
        lines.extend(
            sink.cell(f"  {'also' if reason.reached else 'open'}: {reason.check}: {reason.message}")
            for reason in report.reasons
            if reason.check != report.check
        )
    if report.certificate is not None:
        certificate = report.certificate
        for name, value in (
            ("certificate", certificate.envelope),
            ("artifact", certificate.artifact),
            ("lock", certificate.lock),
            ("observed", certificate.observed_at),
            ("valid until", certificate.not_after),
            ("signed by key", certificate.keyid),
            *(("waived", f"{rule} by {waiver}") for rule, waiver in certificate.waivers.items()),
        ):
            lines.append(sink.cell(f"  {name}: {sink.plain(value)}"))
        if report.list_until is not None and report.list_until < certificate.not_after:
            until = sink.plain(report.list_until)
            by = f"{report.renewal} renews it, and so does every certificate"
            lines.append(sink.cell(f"  ends earlier: {until}, with the revocation list; {by}"))
    if report.lengths is not None:
        lines.append(sink.cell(f"  lengths: {served_line(report.lengths)}"))
    if report.attempts:
        lines.append(sink.cell(f"  attempts: {report.attempts}"))
    if report.check is not None:
        lines.append(sink.cell(f"  next: {report.next_step}"))
    return sink.drawn(Group(*lines), width=width if tty else _PLAIN_WIDTH, colour=tty)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
