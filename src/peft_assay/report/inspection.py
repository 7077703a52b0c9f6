"""`inspect` for people: what it is, then what blocks, what to look at, what nobody stated, and what was clean."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text as Cell

from peft_assay.core.observation import Observation
from peft_assay.report import sink
from peft_assay.report.inspection_findings import Examination, examine
from peft_assay.report.interface import Finding, Inspected, InspectionReport, Refused, Severity

HEADINGS: Mapping[Severity, tuple[str, str]] = {
    Severity.BLOCK: ("blocks", "bold red"),
    Severity.LOOK: ("look at", "bold yellow"),
    Severity.UNSTATED: ("not stated", "bold cyan"),
}
_SHOWN = 6
"""Items of one finding, and names of target modules; --all and --format json have them all."""
_PLAIN_WIDTH = 10_000
"""Pipes get one line per fact, never wrapped."""


def inspection(reports: Sequence[Inspected], *, tty: bool, width: int = 100, flat: bool = False) -> sink.Rendered:
    """Every source in turn; `flat` lists all observations instead of findings."""
    parts: list[RenderableType] = []
    for report in reports:
        if parts:
            parts.append(sink.cell(""))
        if isinstance(report, Refused):
            parts += _refused(report)
        else:
            parts += _head(report)
            if not flat:
                parts += _findings(report)
            elif tty:
                parts.append(_table(report.observations))
            else:
                parts += [sink.cell(_line(observation)) for observation in report.observations]
    return sink.drawn(Group(*parts), width=width if tty else _PLAIN_WIDTH, colour=tty)


def _refused(report: Refused) -> list[RenderableType]:
    refusal = report.refusal
    place = "" if refusal.where in {None, report.source} else f"{refusal.where}: "
    return [
        sink.cell(f"{report.source}: refused, nothing of it was examined", "bold magenta"),
        sink.cell(f"  {place}{refusal.message}"),
        sink.cell(f"  next: {refusal.next_step}", "dim"),
    ]


def _head(report: InspectionReport) -> list[RenderableType]:
    return [
        sink.cell(f"{report.source}: {what_it_is(report)}", "bold"),
        _indented(sink.cell(f"artifact {report.artifact.digest}", "dim"), 2),
    ]


def what_it_is(report: InspectionReport) -> str:
    """One line: kind, type, sizes, modules, base, files."""
    said = report.declared
    words = [f"{report.kind}:", said.peft_type] if said.peft_type else [report.kind]
    words += [f"{name}={value}" for name, value in said.numbers]
    if said.targets:
        more = [f"{len(said.targets) - _SHOWN} more"] if len(said.targets) > _SHOWN else []
        words.append("on " + ", ".join([*said.targets[:_SHOWN], *more]))
    if said.peft_type:
        words.append(f"for base {said.base}" if said.base else "for a base that it does not name")
    size = sum(file.size for file in report.artifact.files)
    counted = "" if said.tensors is None else f"{said.parameters:,} parameters in {said.tensors} tensors, "
    files = len(report.artifact.files)
    return f"{' '.join(filter(None, words))}; {counted}{files} {'file' if files == 1 else 'files'}, {size:,} bytes"


def _findings(report: InspectionReport) -> list[RenderableType]:
    found = examine(report)
    parts: list[RenderableType] = []
    for severity, (heading, style) in HEADINGS.items():
        group = found.of(severity)
        if group:
            parts += [_indented(sink.cell(heading, style), 2), *(_finding(finding) for finding in group)]
    style = "dim" if found.findings else "green"
    return [*parts, *(_indented(sink.cell(line, style), 2) for line in _closing(found))]


def _finding(finding: Finding) -> RenderableType:
    title = Cell.assemble(sink.cell(finding.rule, "bold"), sink.cell(f": {finding.message}"), overflow="fold")
    below: list[RenderableType] = [sink.cell(line) for line in _places(finding)]
    if finding.implied:
        more = len(finding.implied)
        below.append(sink.cell(f"the same goes for {more} more: {', '.join(finding.implied)}", "dim"))
    if finding.next_step:
        below.append(sink.cell(f"next: {finding.next_step}", "dim"))
    return Group(_indented(title, 4), _indented(Group(*below), 6))


def _indented(what: RenderableType, columns: int) -> Padding:
    return Padding(what, (0, 0, 0, columns), expand=False)


def _places(finding: Finding) -> Iterator[str]:
    """``file: field, field`` for each file; nothing for what a whole file does not state."""
    by_file: dict[str, list[str]] = {}
    for spot in finding.spots:
        if finding.severity is Severity.UNSTATED and not spot.field:
            continue
        by_file.setdefault(spot.file, []).append(spot.field)
    alone = [file for file, fields in by_file.items() if fields == [""]]
    if alone:
        yield _listed(alone)
    inside = [file for file in by_file if file not in alone]
    for file in inside[:_SHOWN]:
        yield (f"{file}: " if file else "") + _listed(by_file[file])
    if len(inside) > _SHOWN:
        yield f"and {len(inside) - _SHOWN} more files"


def _listed(names: Sequence[str]) -> str:
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join([*names[:_SHOWN], *more])


def _closing(found: Examination) -> Iterator[str]:
    if found.clean:
        count = len(found.clean)
        others = "other " if found.findings else ""
        yield f"nothing suspicious found in {count} {others}{'check' if count == 1 else 'checks'}; every value: --all"
    else:
        yield "no check could say that anything is in order"
    if found.left_out:
        yield f"not asked without a project (peft-assay init): {', '.join(found.left_out)}"


def _line(observation: Observation) -> str:
    remark = f" ({observation.reason})" if observation.reason else ""
    return f"  {observation.name}: {_value(observation)}{remark}"


def _table(observations: Sequence[Observation]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("observation", "value", "remark"):
        table.add_column(heading, overflow="fold")
    for observation in observations:
        style = "yellow" if observation.value is None else ""
        name, value = sink.cell(observation.name), sink.cell(_value(observation), style)
        table.add_row(name, value, sink.cell(observation.reason or "", "dim"))
    return table


def _value(observation: Observation) -> str:
    return observation.status.called if observation.value is None else sink.plain(observation.value)
