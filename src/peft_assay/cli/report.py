"""`peft-assay report`: one file about what was judged, for people or for tools that compare evaluations."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peft_assay.cli import output
from peft_assay.cli.options import Context, Format, OutputFormat, Trust, WorkspaceFolder, place
from peft_assay.core.errors import StorageError, UsageError
from peft_assay.report import sink

if TYPE_CHECKING:
    from peft_assay.pipeline.certify import Certification
    from peft_assay.pipeline.deployment import Deployment


class Kind(StrEnum):
    """What is written."""

    HTML = "html"
    LM_EVAL = "lm-eval"


NAMES = {Kind.HTML: Path("report.html"), Kind.LM_EVAL: Path("results.json")}


def report(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(help="Adapters to report on. Default: all judged here.", metavar="SOURCE"),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write. Default: report.html or results.json.", metavar="FILE"),
    ] = None,
    kind: Annotated[
        Kind,
        typer.Option(
            "--as",
            help="html, or lm-eval: one adapter's suites in lm-evaluation-harness's results format, with the answers "
            "to public suites.",
        ),
    ] = Kind.HTML,
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Write one file: for people, verdicts, rules, intervals and samples; or, for tools, evaluation results."""
    from peft_assay.pipeline.deployment import Deployment
    from peft_assay.pipeline.reporting import recorded

    target = to or NAMES[kind]
    with Deployment.open(place(context, workspace, trust)) as deployment:
        found = recorded(deployment, sources or [])
        rendered = _html(deployment, found) if kind is Kind.HTML else _lm_eval(deployment, found)
    try:
        with target.open("w", encoding="utf-8") as stream:
            sink.write(rendered, stream)
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(target)) from None
    if output_format is Format.JSON:
        output.document({"report": str(target), "adapters": [item.name for item in found]})
    else:
        output.result(sink.phrase("{} adapters, written to {}\n", len(found), str(target)))


def _html(deployment: "Deployment", found: "Sequence[Certification]") -> sink.Rendered:
    from peft_assay.pipeline.deployment import utc_now
    from peft_assay.pipeline.reporting import certification_report
    from peft_assay.report.html import render_html

    return render_html([certification_report(deployment, item, utc_now()) for item in found])


def _lm_eval(deployment: "Deployment", found: "Sequence[Certification]") -> sink.Rendered:
    from peft_assay.pipeline.deployment import utc_now
    from peft_assay.pipeline.reporting import certification_report
    from peft_assay.pipeline.suite_results import suite_results
    from peft_assay.report.lm_eval import render_lm_eval

    if len(found) != 1:
        raise UsageError(
            f"{len(found)} adapters; a results file of lm-evaluation-harness is about one model",
            next_step="peft-assay report SOURCE --as lm-eval",
        )
    return render_lm_eval(certification_report(deployment, found[0], utc_now()), suite_results(deployment, found[0]))
