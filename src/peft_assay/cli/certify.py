"""`peft-assay certify`: admit, observe, evaluate, and certify or say why not."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from peft_assay.cli import output
from peft_assay.cli.isolation import Isolation, Workers, sandbox_opener
from peft_assay.cli.options import Context, Format, OutputFormat, Sources, Trust, WorkspaceFolder, place
from peft_assay.core.errors import Door, first_door
from peft_assay.pipeline.place import Place


def certify(
    sources: Sources = None,
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would be asked and how long; run nothing.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Observe anew even where valid observations exist.")] = False,
    isolation: Isolation = None,
    workers: Workers = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Certify adapters in the sandbox against the policy of peft-assay.yaml."""
    where = place(context, workspace, trust)
    if plan:
        _show_plan(where, sources or [], output_format)
    open_sandbox = sandbox_opener(isolation, workers, ahead=where)
    # The rest is imported while the sandbox's walls are tried.
    from peft_assay.pipeline.certify import certify as run
    from peft_assay.pipeline.deployment import Deployment, utc_now
    from peft_assay.pipeline.forecast import remarks, stand_of
    from peft_assay.pipeline.project import declared_sources
    from peft_assay.pipeline.reporting import certification_report
    from peft_assay.report import jsonout, terminal

    with Deployment.open(where, create=True, tell=output.note) as deployment:
        for remark in remarks(stand_of(deployment, utc_now())):
            output.note(remark)
        located = declared_sources(deployment.project, sources or [], output.note)
        with output.Steps() as steps:
            done = run(
                deployment,
                located,
                open_sandbox=open_sandbox,
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


def _show_plan(where: Place, named: Sequence[str], output_format: Format) -> None:
    from peft_assay.pipeline.plan import plan as make
    from peft_assay.report.plan import plan_text

    planned = make(where, named, output.note)
    if output_format is Format.JSON:
        output.document(asdict(planned))
    else:
        output.result(plan_text(asdict(planned), where.again(_command(named))))
    found = (
        (Door.REFUSED, planned.absent),
        (Door.FAILED, planned.unsatisfiable),
        (Door.INDETERMINATE, planned.undecidable),
    )
    refused = [*(one.door for one in planned.refused), *(one.door for one in planned.unfit)]
    doors = [*refused, *(door for door, met in found if met)]
    raise typer.Exit(int(first_door([Door.PASSED, *doors])))


def _command(named: Sequence[str]) -> str:
    return " ".join(["peft-assay certify", *map(shlex.quote, named)])
