"""`peft-assay report`: one HTML file about what was judged."""

from pathlib import Path
from typing import Annotated

import typer

from peft_assay.cli import output
from peft_assay.cli.options import Context, Format, OutputFormat, Trust, WorkspaceFolder, place
from peft_assay.core.errors import StorageError
from peft_assay.report import sink


def report(
    sources: Annotated[
        list[str] | None,
        typer.Argument(help="Adapters to report on, named as for certify. Default: all judged here.", metavar="SOURCE"),
    ] = None,
    to: Annotated[Path, typer.Option("--output", "-o", help="File to write.", metavar="FILE")] = Path("report.html"),
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Write one self-contained HTML file: verdicts, rules, intervals, samples, and how to verify them."""
    from peft_assay.pipeline.deployment import Deployment, utc_now
    from peft_assay.pipeline.project import declared_sources
    from peft_assay.pipeline.reporting import certification_report, recorded
    from peft_assay.report.html import render_html

    with Deployment.open(place(context, workspace, trust)) as deployment:
        chosen = declared_sources(deployment.project, sources, output.note) if sources else []
        found = recorded(deployment, chosen)
        reports = [certification_report(deployment, item, utc_now()) for item in found]
    try:
        with to.open("w", encoding="utf-8") as stream:
            sink.write(render_html(reports), stream)
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(to)) from None
    if output_format is Format.JSON:
        output.document({"report": str(to), "adapters": [item.adapter for item in reports]})
    else:
        output.result(sink.phrase("{} adapters, written to {}\n", len(reports), str(to)))
