"""`peft-assay discover`: the adapters one already has, and what is wrong with them at a glance."""

import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from peft_assay.cli import output
from peft_assay.cli.options import Format, OutputFormat
from peft_assay.report import sink

if TYPE_CHECKING:
    from peft_assay.report.interface import Inventory


def discover(
    places: Annotated[
        list[str],
        typer.Argument(
            help="Where to look: folders, such as a Hugging Face cache; archives; s3:// gs:// az:// prefixes.",
            metavar="PLACE",
        ),
    ],
    max_depth: Annotated[
        int, typer.Option("--max-depth", min=0, max=64, help="Folders below PLACE that are looked into.")
    ] = 12,
    propose: Annotated[
        str | None,
        typer.Option("--propose", help="Write a peft-assay.yaml that names what is found; - shows it.", metavar="FILE"),
    ] = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """List the adapters at or below PLACE: where, what, which base, what is wrong at a glance. Blocks nothing."""
    from peft_assay.intake.survey import SurveyLimits
    from peft_assay.pipeline.discover import discover as look
    from peft_assay.report import jsonout
    from peft_assay.report.inspection_inventory import inventory

    with _Walking() as walking:
        found = look(places, SurveyLimits(depth=max_depth), walking)
    shown = propose is not None and _propose(found, propose)
    if shown:
        return
    if output_format is Format.JSON:
        output.result(jsonout.inventory(found))
    else:
        output.result(inventory(found, tty=output.is_terminal(), width=output.width()))


def _propose(found: "Inventory", named: str) -> bool:
    """Writes the proposal, or shows it instead of the inventory; whether it was shown."""
    from peft_assay.pipeline.proposal import propose, write_proposal

    if named == "-":
        for line in propose(found, Path()).splitlines():
            output.result(sink.phrase("{}\n", line))
        return True
    path = Path(named)
    write_proposal(propose(found, path.parent), path)
    step = "read it, say where your base is, then: peft-assay init, which adds the suites that it names"
    said = sink.phrase("proposed {}: {}\n", named, step)
    sink.write(said, sys.stderr)
    return False


class _Walking:
    """How far a walk came, on a terminal only: its end is not known beforehand."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            console=sink.error_console(),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task("")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, folders: int, found: int) -> None:
        """Says how far it came."""
        said = sink.phrase("{} folders looked into, {} found", folders, found)
        self._progress.update(self._task, description=said)
