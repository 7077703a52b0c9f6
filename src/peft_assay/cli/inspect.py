"""`peft-assay inspect`: what is this adapter, what would it change, what is missing?"""

import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from peft_assay import __version__
from peft_assay.cli import output
from peft_assay.core.errors import Door, first_door
from peft_assay.report import sink

if TYPE_CHECKING:
    from peft_assay.report.interface import Inspected


class InspectFormat(StrEnum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"


class FailOn(StrEnum):
    """From which weight on a finding is an exit code."""

    BLOCK = "block"
    LOOK = "look"
    NEVER = "never"


def inspect(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Adapters: folders, archives (.zip, .tar.*), SOURCE:FOLDER for one folder in it, "
            "hf://org/name@revision, or s3:// gs:// az:// prefixes.",
            metavar="SOURCE",
        ),
    ],
    flat: Annotated[bool, typer.Option("--all", help="List every observation instead of findings.")] = False,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="Exit code 10 for findings that block, or that are worth a look.")
    ] = FailOn.NEVER,
    output_format: Annotated[
        InspectFormat,
        typer.Option("--format", help="text; json for programs; sarif (2.1.0) for code scanning and editors."),
    ] = InspectFormat.TEXT,
) -> None:
    """Say what SOURCE is, what it would change and what is missing. Needs no project, keys, base or torch."""
    from peft_assay.cli.watched import looking  # needs modules that only Unix has
    from peft_assay.pipeline.inspection import inspect as look
    from peft_assay.pipeline.inspection import inspect_all

    listed = len(sources) > 1
    # One source that is refused is an error like any other; a SARIF log has a place for it, as a list has.
    reports = (
        inspect_all(sources, tell=_tell, looking=looking)
        if listed or output_format is InspectFormat.SARIF
        else [look(sources[0], tell=_tell, looking=looking)]
    )
    _show(reports, output_format, listed=listed, flat=flat)
    raise typer.Exit(int(first_door(_door(report, fail_on) for report in reports)))


def _tell(line: str) -> None:
    """What a fetch says of itself, to standard error."""
    sink.write(sink.phrase("{}\n", line), sys.stderr)


def _show(reports: "Sequence[Inspected]", output_format: InspectFormat, *, listed: bool, flat: bool) -> None:
    match output_format:
        case InspectFormat.JSON:
            from peft_assay.report import jsonout

            output.result(jsonout.inspection(reports, listed=listed))
        case InspectFormat.SARIF:
            from peft_assay.report import sarif

            output.result(sarif.inspection(reports, version=__version__))
        case InspectFormat.TEXT:
            from peft_assay.report.inspection import inspection

            output.result(inspection(reports, tty=output.is_terminal(), width=output.width(), flat=flat))


def _door(report: "Inspected", fail_on: FailOn) -> Door:
    from peft_assay.report.inspection_findings import examine
    from peft_assay.report.interface import Refused, Severity

    if isinstance(report, Refused):
        return Door.REFUSED
    if fail_on is FailOn.NEVER:
        return Door.PASSED
    return Door.FAILED if examine(report).reaches(Severity(fail_on.value)) else Door.PASSED
