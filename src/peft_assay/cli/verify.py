"""`peft-assay verify`: would the gate admit it now, and if not, why?"""

import typer

from peft_assay.cli import output
from peft_assay.cli.options import Context, Format, OutputFormat, Sources, Trust, WorkspaceFolder, place
from peft_assay.core.errors import first_door


def verify(
    sources: Sources = None,
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Say whether the gate would admit SOURCE now, and if not every reason. Offline, without torch."""
    from peft_assay.pipeline.deployment import Deployment, utc_now
    from peft_assay.pipeline.project import declared_sources
    from peft_assay.pipeline.reporting import verification_report
    from peft_assay.pipeline.verify import verify as check
    from peft_assay.report import jsonout, terminal

    with Deployment.open(place(context, workspace, trust)) as deployment:
        done = check(deployment, declared_sources(deployment.project, sources or [], output.note), clock=utc_now)
    reports = [verification_report(item) for item in done]
    if output_format is Format.JSON:
        output.result(jsonout.verification(reports))
    else:
        for report in reports:
            output.result(terminal.verification(report, tty=output.is_terminal(), width=output.width()))
    raise typer.Exit(int(first_door(item.door for item in done)))
