"""`peft-assay verify`: would the gate admit it now, and if not, why?"""

from typing import Annotated, NoReturn

import typer

from peft_assay.cli import output
from peft_assay.cli.options import Context, Format, OutputFormat, Sources, Trust, WorkspaceFolder, place
from peft_assay.core.errors import Door, first_door


def verify(
    sources: Sources = None,
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    replay: Annotated[
        bool,
        typer.Option("--replay", help="Instead: reproduce every decision in the ledger from what it was made from."),
    ] = False,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Say whether the gate would admit SOURCE now, and if not every reason. Offline, without torch."""
    from peft_assay.pipeline.deployment import Deployment, utc_now
    from peft_assay.pipeline.project import declared_sources
    from peft_assay.pipeline.reporting import verification_report
    from peft_assay.pipeline.verify import verify as check
    from peft_assay.report import jsonout, terminal

    if replay:
        _replay(context, workspace, trust, output_format)
    where = place(context, workspace, trust)
    with Deployment.open(where, reading=True, tell=output.note) as deployment:
        done = check(deployment, declared_sources(deployment.project, sources or [], output.note), clock=utc_now)
    reports = [verification_report(item, where) for item in done]
    if output_format is Format.JSON:
        output.result(jsonout.verification(reports))
    else:
        for report in reports:
            output.result(terminal.verification(report, tty=output.is_terminal(), width=output.width()))
    raise typer.Exit(int(first_door(item.door for item in done)))


def _replay(context: Context, workspace: WorkspaceFolder, trust: Trust, output_format: Format) -> NoReturn:
    from peft_assay.pipeline.deployment import Deployment
    from peft_assay.pipeline.policy.replay import replay
    from peft_assay.report import policy

    with Deployment.open(place(context, workspace, trust)) as deployment:
        done = replay(deployment)
    unlike = [(item.seq, item.artifact, item.recorded, item.replayed) for item in done.unlike]
    if output_format is Format.JSON:
        output.document(policy.replay_document(done.reproduced, unlike, done.without_grounds))
    else:
        output.result(policy.replay_text(done.reproduced, unlike, done.without_grounds))
    raise typer.Exit(int(Door.TRUST if unlike else Door.PASSED))
