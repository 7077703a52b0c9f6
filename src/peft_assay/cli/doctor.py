"""`peft-assay doctor`: which isolation level this host reaches, what is missing, and the command that supplies it."""

from pathlib import Path
from typing import Annotated

import typer

from peft_assay.cli import output
from peft_assay.cli.options import Format, OutputFormat


def doctor(
    base: Annotated[
        Path | None,
        typer.Option("--base", help="Also load this base in the sandbox and try it with an adapter.", metavar="DIR"),
    ] = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Say which isolation level this host reaches, by really running the start-up attacks, and what would raise it."""
    from peft_assay.pipeline.doctor import diagnose
    from peft_assay.report import doctor as rendering

    with output.Steps() as steps:
        found = diagnose(base, tell=steps)
    if output_format is Format.JSON:
        output.result(rendering.document(found))
    else:
        output.result(rendering.diagnosis(found, tty=output.is_terminal(), width=output.width()))
    raise typer.Exit(int(found.door))
