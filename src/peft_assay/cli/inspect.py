"""`peft-assay inspect`: what is this adapter, what would it change, what is missing?"""

from pathlib import Path
from typing import Annotated

import typer

from peft_assay.cli import output
from peft_assay.cli.options import Format, OutputFormat


def inspect(
    source: Annotated[Path, typer.Argument(help="Folder or archive of an adapter.", metavar="SOURCE")],
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Say what SOURCE is, what it would change and what is missing. Needs no project, keys, base or torch."""
    from peft_assay.pipeline.reporting import inspect as look
    from peft_assay.report import jsonout, terminal

    report = look(source)
    if output_format is Format.JSON:
        output.result(jsonout.inspection(report))
    else:
        output.result(terminal.inspection(report, tty=output.is_terminal(), width=output.width()))
