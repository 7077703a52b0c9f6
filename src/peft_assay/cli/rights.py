"""`peft-assay rights`: what is declared about an adapter's rights, what is open, and a signed decision about it."""

from typing import TYPE_CHECKING, Annotated

import typer

from peft_assay.cli import output
from peft_assay.cli.options import Context, Format, OutputFormat, Trust, WorkspaceFolder, days, place
from peft_assay.core.commands import Options
from peft_assay.core.errors import Door, UsageError
from peft_assay.core.rights import Answer

if TYPE_CHECKING:
    from peft_assay.pipeline.snapshots import Taken

rights = typer.Typer(
    name="rights",
    help="What is declared about an adapter's licence, data and base, what is open, and how to settle it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Source = Annotated[
    str,
    typer.Argument(
        help="Adapter: folder, archive, remote name, alias, or digest of an admitted one.", metavar="SOURCE"
    ),
]


@rights.command(short_help="Show the lineage, every claim, and what is open in it.")
def show(
    source: Source,
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Show the lineage of SOURCE with every claim, what follows, and the command that settles what is open."""
    from peft_assay.pipeline import rights as acts
    from peft_assay.pipeline.deployment import Deployment, utc_now
    from peft_assay.report.rights import rights_document, rights_text

    where = place(context, workspace, trust)
    with Deployment.open(where) as deployment:
        view = acts.show(deployment, source, clock=utc_now, tell=output.note)
    arguments = (
        view.name,
        view.artifact,
        view.lineage,
        view.in_force,
        view.standing.snapshot,
        view.unknown(),
        tuple(map(where.again, view.commands())),
    )
    if output_format is Format.JSON:
        output.document(rights_document(*arguments))
    else:
        output.result(rights_text(*arguments))
    open_questions = view.answer("commercial") is Answer.UNKNOWN
    raise typer.Exit(int(Door.INDETERMINATE if open_questions else Door.PASSED))


@rights.command(short_help="Sign a clearance of one grant for exactly these bytes.")
def clear(
    source: Source,
    grant: Annotated[str, typer.Option("--grant", help="commercial, derivatives, redistribution or hosted.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="How you know; it is signed and kept.")] = "",
    by: Annotated[str, typer.Option("--by", help="Who decided: a person or an office.")] = "",
    valid: Annotated[str, typer.Option("--valid", help="For how long, in days; at most 366d.")] = "90d",
    although_refused: Annotated[
        bool, typer.Option("--although-refused", help="Clear it although a declared licence says no.")
    ] = False,
    withdraw: Annotated[
        str | None, typer.Option("--withdraw", help="Take this clearance of SOURCE out of force.", metavar="DIGEST")
    ] = None,
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Sign a clearance of one grant for exactly these bytes and claims, with the approver's key."""
    from peft_assay.pipeline import rights as acts
    from peft_assay.pipeline.deployment import Deployment, utc_now
    from peft_assay.report.rights import clearance_document, clearance_text, withdrawn_text

    if withdraw is not None and (grant or reason or by):
        raise UsageError("--withdraw takes no --grant, --reason and --by")
    where = place(context, workspace, trust)
    with Deployment.open(where) as deployment:
        if withdraw is not None:
            view = acts.show(deployment, source, clock=utc_now, tell=output.note)
            acts.withdraw(deployment, withdraw, view.artifact, clock=utc_now)
            if output_format is Format.JSON:
                output.document({"artifact": view.artifact, "withdrawn": withdraw})
            else:
                output.result(withdrawn_text(withdraw, source, where.options))
            return
        done = acts.clear(
            deployment, source, grant=grant, reason=reason, by=by, valid=days(valid),
            although_refused=although_refused, clock=utc_now, tell=output.note,
        )  # fmt: skip
    if output_format is Format.JSON:
        output.document(clearance_document(done))
    else:
        output.result(clearance_text(done, source, where.options))


@rights.command(short_help="Ask the Hub about bases and datasets, and keep the answers.")
def snapshot(
    source: Source,
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Ask the Hub about the bases and datasets of SOURCE, keep what they say, and judge by that from now on."""
    from peft_assay.pipeline import snapshots
    from peft_assay.pipeline.deployment import Deployment, utc_now
    from peft_assay.pipeline.rights import subject_of

    where = place(context, workspace, trust)
    with Deployment.open(where) as deployment:
        deployment.raise_mark(utc_now())
        _, subject = subject_of(deployment, source, now=utc_now(), tell=output.note)
        taken = snapshots.take(deployment, subject, clock=utc_now, tell=output.note)
        deployment.raise_mark(utc_now())
    _show_taken(taken, source, output_format, kept=True, options=where.options)


@rights.command(short_help="Ask the Hub again, and say what differs from the snapshot.")
def drift(
    source: Source,
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Ask again and say what differs from the snapshot; changes nothing. Exit code 10 when something does."""
    from peft_assay.pipeline import snapshots
    from peft_assay.pipeline.deployment import Deployment, utc_now
    from peft_assay.pipeline.rights import subject_of

    where = place(context, workspace, trust)
    with Deployment.open(where) as deployment:
        _, subject = subject_of(deployment, source, now=utc_now(), tell=output.note)
        taken = snapshots.drift(deployment, subject, tell=output.note)
    _show_taken(taken, source, output_format, kept=False, options=where.options)
    raise typer.Exit(int(Door.FAILED if taken.changes else Door.PASSED))


def _show_taken(taken: "Taken", source: str, output_format: Format, *, kept: bool, options: Options) -> None:
    from peft_assay.report.rights import snapshot_document, snapshot_text

    arguments = (taken.digest, taken.previous, taken.repositories, taken.changes)
    if output_format is Format.JSON:
        output.document(snapshot_document(*arguments))
    else:
        output.result(snapshot_text(*arguments, source=source, kept=kept, options=options))
