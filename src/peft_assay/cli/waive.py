"""`peft-assay waive`: accept what one rule denies of one adapter, by an approver's signature and for a while."""

from typing import Annotated

import typer

from peft_assay.cli import output
from peft_assay.cli.options import Context, Format, OutputFormat, Trust, WorkspaceFolder, days, place
from peft_assay.core.errors import UsageError

Source = Annotated[
    str, typer.Argument(help="Adapter that was judged here: folder, archive, remote name or alias.", metavar="SOURCE")
]
Rule = Annotated[str, typer.Option("--rule", help="The rule that fails, by its id.", metavar="ID")]
Reason = Annotated[str, typer.Option("--reason", help="Why it is accepted; it is signed and kept.")]
By = Annotated[str, typer.Option("--by", help="Who decided: a person or an office.")]
Valid = Annotated[str, typer.Option("--valid", help="For how long, in days; at most 366d.")]
Withdraw = Annotated[
    str | None, typer.Option("--withdraw", help="Take this waiver of SOURCE out of force.", metavar="DIGEST")
]
List = Annotated[bool, typer.Option("--list", help="Show what is waived of SOURCE, and what could be.")]


def waive(
    source: Source,
    rule: Rule = "",
    reason: Reason = "",
    by: By = "",
    valid: Valid = "30d",
    withdraw: Withdraw = None,
    show: List = False,
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Sign with the approver's key that what one rule denies of SOURCE is accepted: these values, here, for a while."""
    from peft_assay.pipeline import waive as acts
    from peft_assay.pipeline.deployment import Deployment, utc_now
    from peft_assay.pipeline.project import declared_sources
    from peft_assay.report import waivers as shown

    _check_usage(source, rule, reason, by, withdraw, show)
    where = place(context, workspace, trust)
    with Deployment.open(where) as deployment:
        (found,) = declared_sources(deployment.project, [source], output.note)
        if show:
            view = acts.look(deployment, found)
            document = shown.listed_document(view.name, view.artifact, view.kept, view.counting, view.waivable)
            text = shown.listed_text(
                view.name, source, view.kept, view.counting, view.waivable, view.protected, where.options
            )
        elif withdraw is not None:
            artifact = acts.withdraw(deployment, found, withdraw, clock=utc_now)
            document = {"artifact": artifact, "withdrawn": withdraw}
            text = shown.withdrawn_text(withdraw, source, where.options)
        else:
            done = acts.sign(deployment, found, rule=rule, reason=reason, by=by, valid=days(valid), clock=utc_now)
            document, text = shown.waiver_document(done), shown.signed_text(done, source, where.options)
    if output_format is Format.JSON:
        output.document(document)
    else:
        output.result(text)


def _check_usage(source: str, rule: str, reason: str, by: str, withdraw: str | None, show: bool) -> None:
    signing = bool(rule or reason or by)
    if signing + (withdraw is not None) + show > 1:
        step = f"peft-assay waive {source} --list"
        raise UsageError("--rule with --reason and --by, --withdraw and --list exclude each other", next_step=step)
    if not (show or withdraw is not None or rule):
        raise UsageError("names no rule", where="--rule", next_step=f"peft-assay waive {source} --list")
