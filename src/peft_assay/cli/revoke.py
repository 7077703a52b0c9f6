"""`peft-assay revoke`: withdraw, lift, refresh or list."""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peft_assay.cli import output
from peft_assay.cli.options import Context, Format, OutputFormat, Trust, WorkspaceFolder, place
from peft_assay.core.certificate import Revocation, RevocationList, Scope
from peft_assay.core.errors import UsageError
from peft_assay.pipeline.place import Place
from peft_assay.report import sink

if TYPE_CHECKING:
    from peft_assay.pipeline import revoke as acts

Target = Annotated[
    str | None, typer.Argument(help="Adapter folder, archive or alias, a full digest, or a key id.", metavar="TARGET")
]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; it is signed and kept.")]
Which = Annotated[Scope, typer.Option("--scope", help="What TARGET names.")]
Lift = Annotated[bool, typer.Option("--lift", help="Take the withdrawal of TARGET out of force (approver's key).")]
Refresh = Annotated[bool, typer.Option("--refresh", help="Sign the list anew, unchanged, so that it stays fresh.")]
List = Annotated[bool, typer.Option("--list", help="Show what is withdrawn.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def revoke(
    target: Target = None,
    scope: Which = Scope.ADAPTER,
    reason: Reason = None,
    lift: Lift = False,
    refresh: Refresh = False,
    show: List = False,
    yes: Yes = False,
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Withdraw TARGET: no adapter that it touches becomes active until the hold is lifted, even when certified again.

    The adapter's function is withdrawn: the same function in other bytes is held too.
    """
    from peft_assay.pipeline import revoke as acts
    from peft_assay.pipeline.deployment import Deployment, utc_now

    _check_usage(target, reason, lift, refresh, show)
    where = place(context, workspace, trust)
    intent: acts.Intent | None = None
    with Deployment.open(where) as deployment:
        if show:
            deployment.look(utc_now())
            record = deployment.revocations()
            found = None if record is None else record.list
        elif refresh:
            found = acts.refresh(deployment, clock=utc_now).list
        elif lift:
            found = acts.lift(deployment, scope, target or "", reason=reason or "", clock=utc_now).list
        else:
            intent = acts.intend(deployment, scope, target or "", clock=utc_now)
            _ask(intent, yes=yes)
            found = acts.revoke(deployment, intent, reason=reason or "", clock=utc_now).list
    _show(found, output_format, where, intent)


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


def _ask(intent: "acts.Intent", *, yes: bool) -> None:
    """Print what the withdrawal touches, and ask for confirmation where it looks like a mistake; raises UsageError for
    a no.
    """
    for line in _touching(intent):
        output.note(line)
    doubt = intent.touched.warning
    if doubt is None and intent.touched.nothing:
        subject = f"{intent.subject.scope.value} {intent.subject.target}"
        doubt = f"the withdrawal touches nothing in this workspace: {subject}"
    if doubt is None or yes:
        return
    if sys.stdin.isatty() and sys.stderr.isatty():
        output.note(f"warning: {doubt}")
        if typer.confirm("Withdraw it all the same?", err=True):
            return
        raise UsageError("nothing was withdrawn", next_step="peft-assay revoke --list")
    raise UsageError(
        f"nothing was withdrawn: {doubt}",
        where=intent.subject.target,
        next_step="list the certificates here: peft-assay report; if the target is right, run it again with --yes",
    )


def _touching(intent: "acts.Intent") -> Iterator[str]:
    touched = intent.touched
    for name in touched.names:
        yield f"touches {name}" + (", which has the same function in other bytes" if name in touched.alike else "")
    for name in touched.near:
        yield f"near function: {name} (held only by the policy, when it is certified again)"
    counted = [f"{len(touched.certificates)} certificates", f"{touched.activations} activations that have not ended"]
    if touched.pinned:
        counted.append("a key that the trust anchor pins")
    yield f"touches {', '.join(counted)}"
    if intent.taken.why is not None:
        yield f"recognised by name only: {intent.taken.why}"


def _touched(intent: "acts.Intent | None") -> dict[str, Any] | None:
    if intent is None:
        return None
    found, function = intent.touched, intent.taken.function
    return {
        "names": list(found.names),
        "same": list(found.alike),
        "near": list(found.near),
        "certificates": list(found.certificates),
        "activations": found.activations,
        "function": None if function is None else function.digest,
        "fingerprint": None if function is None else function.fingerprint,
        "unknown": intent.taken.why,
    }


def _entry(entry: Revocation) -> dict[str, Any]:
    function = entry.function
    return {
        "scope": entry.scope.value,
        "target": entry.target,
        "reason": entry.reason,
        "at": entry.at.isoformat(),
        "function": None if function is None else function.digest,
    }


def _show(
    revocations: RevocationList | None, output_format: Format, where: Place, intent: "acts.Intent | None"
) -> None:
    entries = () if revocations is None else revocations.revocations
    if output_format is Format.JSON:
        output.document(
            {
                "sequence": None if revocations is None else revocations.sequence,
                "notAfter": None if revocations is None else revocations.not_after.isoformat(),
                "revocations": [_entry(entry) for entry in entries],
                "touches": _touched(intent),
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
