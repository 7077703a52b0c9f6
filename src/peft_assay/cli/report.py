"""`peft-assay report`: what was judged, as one HTML file, as a bill of materials, as results, or by control."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peft_assay import __version__
from peft_assay.cli import output
from peft_assay.cli.options import Context, Trust, WorkspaceFolder, place
from peft_assay.core.errors import StorageError, UsageError
from peft_assay.report import sink

if TYPE_CHECKING:
    from peft_assay.pipeline.deployment import Deployment
    from peft_assay.pipeline.sources import Located
    from peft_assay.report.control_map import ControlMap


class ReportFormat(StrEnum):
    """What is written."""

    TEXT = "text"
    JSON = "json"
    CYCLONEDX = "cyclonedx"
    LM_EVAL = "lm-eval"


Sources = Annotated[
    list[str] | None,
    typer.Argument(help="Adapters to report on, named as for certify. Default: all judged here.", metavar="SOURCE"),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="File to write; - for standard output. Default: report.html, bom.cdx.json or results.json.",
        metavar="FILE",
    ),
]
Controls = Annotated[
    bool,
    typer.Option(
        "--controls", help="Print which evidence is relevant to which control (AI Act, NIST, ISO 42001, SOC 2)."
    ),
]
Map = Annotated[Path | None, typer.Option("--control-map", help="Your own edition of the control map.", metavar="FILE")]
OutputFormat = Annotated[
    ReportFormat,
    typer.Option(
        "--format",
        help="text or json: what is printed beside the HTML file; cyclonedx: a bill of materials; lm-eval: one "
        "adapter's suites in lm-evaluation-harness's results format.",
    ),
]


def report(
    sources: Sources = None,
    to: Output = None,
    controls: Controls = False,
    control_map: Map = None,
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    output_format: OutputFormat = ReportFormat.TEXT,
) -> None:
    """Write an HTML file on what was judged, a CycloneDX 1.6 bill, or lm-eval results; or print evidence by control."""
    from peft_assay.pipeline.bill import bill_entries
    from peft_assay.pipeline.deployment import Deployment, utc_now
    from peft_assay.pipeline.reporting import certification_report, recorded

    mapped = _control_map(control_map)
    where = place(context, workspace, trust)
    if output_format is ReportFormat.CYCLONEDX:
        _check_no_controls(controls, "a bill of materials")
        with Deployment.open(where) as deployment:
            entries = bill_entries(deployment, _chosen(deployment, sources), clock=utc_now)
        from peft_assay.report.cyclonedx import render_cyclonedx

        written = render_cyclonedx(entries, version=__version__)
        _write(written, to or Path("bom.cdx.json"), len(entries))
        return
    if output_format is ReportFormat.LM_EVAL:
        _check_no_controls(controls, "a results file")
        with Deployment.open(where) as deployment:
            _write(_lm_eval(deployment, _chosen(deployment, sources)), to or Path("results.json"), 1)
        return
    with Deployment.open(where) as deployment:
        found = recorded(deployment, _chosen(deployment, sources))
        reports = [certification_report(deployment, item, utc_now()) for item in found]
    as_json = output_format is ReportFormat.JSON
    if controls:
        from peft_assay.report.controls_text import controls_document, controls_text

        text = sink.json_text(controls_document(mapped, reports)) if as_json else controls_text(mapped, reports)
        output.result(text)
        return
    from peft_assay.report.html import render_html

    path = to or Path("report.html")
    if as_json and str(path) == "-":
        step = "name a file with --output, or leave --format out"
        raise UsageError("the HTML file and the JSON result cannot both go to standard output", next_step=step)
    _write(render_html(reports, controls=mapped), path, None if as_json else len(reports))
    if as_json:
        output.document({"report": str(path), "adapters": [item.adapter for item in reports]})


def _chosen(deployment: "Deployment", sources: Sequence[str] | None) -> "list[Located]":
    from peft_assay.pipeline.project import declared_sources

    return declared_sources(deployment.project, sources, output.note) if sources else []


def _control_map(path: Path | None) -> "ControlMap":
    from peft_assay.pipeline.documents import read_file
    from peft_assay.report.control_map import read_control_map

    return read_control_map(None if path is None else read_file(path), where=str(path or "control map"))


def _lm_eval(deployment: "Deployment", sources: "Sequence[Located]") -> sink.Rendered:
    from peft_assay.pipeline.deployment import utc_now
    from peft_assay.pipeline.reporting import certification_report, recorded
    from peft_assay.pipeline.suite_results import suite_results
    from peft_assay.report.lm_eval import render_lm_eval

    found = recorded(deployment, sources)
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} adapters; a results file of lm-evaluation-harness is about one model",
            next_step="peft-assay report SOURCE --format lm-eval",
        )
    return render_lm_eval(certification_report(deployment, found[0], utc_now()), suite_results(deployment, found[0]))


def _check_no_controls(controls: bool, what: str) -> None:
    if controls:
        raise UsageError(
            f"{what} has no control map",
            where="--controls",
            next_step="peft-assay report --controls --format json",
        )


def _write(text: sink.Rendered, to: Path, adapters: int | None) -> None:
    """Writes the file, and says so where `adapters` are counted."""
    if str(to) == "-":
        output.result(text)
        return
    try:
        with to.open("w", encoding="utf-8") as stream:
            sink.write(text, stream)
    except OSError as error:
        step = "name a file, in a folder that is there and writable, with --output FILE"
        raise StorageError(f"cannot be written: {error.strerror}", where=str(to), next_step=step) from None
    if adapters is not None:
        sink.write(sink.phrase("{}, written to {}\n", sink.counted(adapters, "adapter"), str(to)), sys.stdout)
