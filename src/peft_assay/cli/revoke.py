"""`peft-assay revoke`: withdraw, lift, refresh or list."""

from typing import Annotated

import typer

from peft_assay.cli import output
from peft_assay.cli.options import Context, Format, OutputFormat, Trust, WorkspaceFolder, place
from peft_assay.core.certificate import RevocationList, Scope
from peft_assay.core.errors import UsageError
from peft_assay.pipeline.place import Place
from peft_assay.report import sink

Target = Annotated[
    str | None, typer.Argument(help="Adapter folder, archive or alias, a full digest, or a key id.", metavar="TARGET")
]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; it is signed and kept.")]
Which = Annotated[Scope, typer.Option("--scope", help="What TARGET names.")]
Lift = Annotated[bool, typer.Option("--lift", help="Take the withdrawal of TARGET out of force (approver's key).")]
Refresh = Annotated[bool, typer.Option("--refresh", help="Sign the list anew, unchanged, so that it stays fresh.")]
List = Annotated[bool, typer.Option("--list", help="Show what is withdrawn.")]


def revoke(
    target: Target = None,
    scope: Which = Scope.ADAPTER,
    reason: Reason = None,
    lift: Lift = False,
    refresh: Refresh = False,
    show: List = False,
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Withdraw TARGET: nothing it touches is active again until the hold is lifted, whatever is certified."""
    from peft_assay.pipeline import revoke as acts
    from peft_assay.pipeline.deployment import Deployment, utc_now

    _check_usage(target, reason, lift, refresh, show)
    where = place(context, workspace, trust)
    with Deployment.open(where) as deployment:
        if show:
            record = deployment.revocations()
            found = None if record is None else record.list
        elif refresh:
            found = acts.refresh(deployment, clock=utc_now).list
        else:
            act = acts.lift if lift else acts.revoke
            found = act(deployment, scope, target or "", reason=reason or "", clock=utc_now).list
    _show(found, output_format, where)


def _check_usage(target: str | None, reason: str | None, lift: bool, refresh: bool, show: bool) -> None:
    if lift + refresh + show > 1:
        raise UsageError("--lift, --refresh and --list exclude each other")
    if (refresh or show) and target is not None:
        raise UsageError("--refresh and --list take no TARGET")
    if not (refresh or show) and (target is None or not (reason or "").strip()):
        raise UsageError(
            "a withdrawal or lift names its target and its reason",
            next_step=f"peft-assay revoke {'--lift ' if lift else ''}TARGET --reason '...'",
        )


def _show(revocations: RevocationList | None, output_format: Format, where: Place) -> None:
    entries = () if revocations is None else revocations.revocations
    if output_format is Format.JSON:
        output.document(
            {
                "sequence": None if revocations is None else revocations.sequence,
                "notAfter": None if revocations is None else revocations.not_after.isoformat(),
                "revocations": [
                    {"scope": e.scope.value, "target": e.target, "reason": e.reason, "at": e.at.isoformat()}
                    for e in entries
                ],
            }
        )
        return
    if revocations is None:
        step = where.again("peft-assay revoke --refresh")
        output.result(sink.phrase("there is no revocation list yet\nnext: {}\n", step))
        return
    output.result(sink.phrase("revocation list {}, fresh until {}\n", revocations.sequence, revocations.not_after))
    for entry in entries:
        output.result(sink.phrase("  {} {}  {} ({})\n", entry.scope.value, entry.target, entry.reason, entry.at))
    if not entries:
        output.result(sink.phrase("  nothing is withdrawn\n"))
