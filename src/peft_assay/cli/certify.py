"""`peft-assay certify`: admit, observe, evaluate, and certify or say why not."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from peft_assay.cli import output
from peft_assay.cli.isolation import Isolation, sandbox_opener
from peft_assay.cli.options import Context, Format, OutputFormat, Sources, Trust, WorkspaceFolder, place
from peft_assay.core.errors import Door, first_door
from peft_assay.report import sink


def certify(
    sources: Sources = None,
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be asked and how long; run nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Observe anew even where valid observations exist.")] = False,
    isolation: Isolation = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Certify adapters in the sandbox against the policy of peft-assay.yaml."""
    if plan:
        _show_plan(place(context, workspace, trust).context_path(), sources or [], output_format)
        return
    from peft_assay.pipeline.certify import certify as run
    from peft_assay.pipeline.deployment import Deployment, utc_now
    from peft_assay.pipeline.project import declared_sources
    from peft_assay.pipeline.reporting import certification_report
    from peft_assay.report import jsonout, terminal

    with Deployment.open(place(context, workspace, trust), create=True) as deployment:
        located = declared_sources(deployment.project, sources or [], output.note)
        with output.Steps() as steps:
            done = run(
                deployment,
                located,
                open_sandbox=sandbox_opener(isolation),
                clock=utc_now,
                progress=steps,
                fresh=fresh,
            )
        reports = [certification_report(deployment, item, utc_now()) for item in done]
    if output_format is Format.JSON:
        output.result(jsonout.certification(reports))
    else:
        output.result(terminal.certification(reports, tty=output.is_terminal(), width=output.width()))
    raise typer.Exit(int(first_door(item.door for item in done)))


def _show_plan(path: Path, named: Sequence[str], output_format: Format) -> None:
    from peft_assay.pipeline.plan import plan as make
    from peft_assay.pipeline.project import load_project, named_sources

    project = load_project(path)
    planned = make(project, len(named_sources(project, named)))
    if output_format is Format.JSON:
        output.document(asdict(planned))
        return
    for suite in planned.suites:
        output.result(
            sink.phrase(
                "{}: {} cases, {} passes; if all are right, the pass rate is at least {} (95 %)\n",
                suite.suite,
                suite.cases,
                suite.passes,
                round(suite.best_lower, 3),
            )
        )
    output.result(sink.phrase("trigger scan: {} tokens, {} passes\n", planned.scan_tokens, planned.scan_passes))
    output.result(
        sink.phrase(
            "{} adapters and the base once: about {} CPU-seconds (a rough figure)\n",
            planned.adapters,
            round(planned.seconds),
        )
    )
    for rule in planned.unsatisfiable:
        output.result(sink.phrase("cannot be satisfied at this n: {}\n", rule))
    if planned.unsatisfiable:
        raise typer.Exit(int(Door.FAILED))
    output.result(
        sink.phrase("these n can satisfy every rule over suites; nothing was run, no adapter was looked at\n")
    )
