"""The street door: parse, call, render, and one exit code for everything that can happen."""

import itertools
import os
import sys
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException

from peft_assay import __version__
from peft_assay.cli import output
from peft_assay.cli.certify import certify
from peft_assay.cli.discover import discover
from peft_assay.cli.doctor import doctor
from peft_assay.cli.init import init
from peft_assay.cli.inspect import inspect
from peft_assay.cli.options import Format
from peft_assay.cli.policy import policy
from peft_assay.cli.report import report
from peft_assay.cli.revoke import revoke
from peft_assay.cli.rights import rights
from peft_assay.cli.suite import suite
from peft_assay.cli.verify import verify
from peft_assay.cli.waive import waive
from peft_assay.core.commands import PLACE, Options
from peft_assay.core.errors import AssayError, Door, StorageError, UsageError
from peft_assay.report import sink

app = typer.Typer(
    name="peft-assay",
    help="Certify PEFT adapters in your own sandbox, against your own policy; let nothing uncertified become active.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 admitted, 2 usage, 3 refused, 4 not observed, 10 FAIL, 11 trust, 12 denied, "
    "13 INDETERMINATE, 74 storage, 130 interrupted.",
)
for command, summary in (
    (inspect, "Say what a source is, what it would change, what is missing."),
    (discover, "List the adapters at or below a place."),
    (init, "Make a project: peft-assay.yaml, keys and a workspace."),
    (certify, "Certify adapters in the sandbox against your policy."),
    (waive, "Sign that what one rule denies is accepted, for a while."),
    (verify, "Say whether the gate would admit an adapter now."),
    (revoke, "Withdraw an adapter or a key, lift that, renew the list."),
    (report, "Write an HTML report, a bill of materials, or results."),
    (doctor, "Say which isolation level this host reaches, and why."),
):
    app.command(short_help=summary)(command)  # fits 80 columns: nothing is cut

app.add_typer(rights, name="rights", short_help="Show and settle what is declared about licences.")
app.add_typer(policy, name="policy")
app.add_typer(suite, name="suite")


def _version(wanted: bool) -> None:
    if wanted:
        output.result(sink.phrase("peft-assay {}\n", __version__))
        raise typer.Exit


@app.callback()
def _root(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True)) -> None:
    """Certify PEFT adapters in your own sandbox; let nothing uncertified become active."""


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and gives its exit code; never raises for bad input."""
    output_format, options = _format_of(arguments), _place_of(arguments)
    try:
        _check_text(arguments)
        code = app(list(arguments) or ["--help"], standalone_mode=False, prog_name="peft-assay")
        if code == Door.INTERRUPTED:  # typer turns Ctrl-C into an exit code without a word
            return _interrupted()
        return int(code or 0) if arguments else int(Door.USAGE)
    except AssayError as error:
        output.problem(error, output_format, options)
        return int(error.door)
    except TyperException as error:
        if isinstance(error, typer.Abort):
            return _interrupted()
        message = " ".join(_message_of(error).split())
        output.problem(UsageError(message or "nothing to do", next_step="peft-assay --help"), output_format, options)
        return int(Door.USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Door.STORAGE)
    except OSError as error:
        output.problem(
            StorageError(str(error.strerror or error), where=str(error.filename or "")), output_format, options
        )
        return int(Door.STORAGE)
    except Exception as error:
        if os.environ.get("PEFT_ASSAY_DEBUG"):
            raise
        what = f"this is a bug in peft-assay: {type(error).__name__}: {error}"
        step = "set PEFT_ASSAY_DEBUG=1 for the traceback and report it"
        output.problem(AssayError(what, next_step=step), output_format)
        return int(Door.BUG)


def _check_text(arguments: Sequence[str]) -> None:
    """Raises UsageError for bytes that are not UTF-8: records and reports could not name what they stand for."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise UsageError("an argument is not UTF-8", where=argument, next_step="rename the file") from None


def _format_of(arguments: Sequence[str]) -> Format:
    """Whether JSON was asked for, also when the command line as a whole does not parse."""
    pairs = itertools.pairwise(arguments)
    wants = "--format=json" in arguments or ("--format", "json") in pairs
    return Format.JSON if wants else Format.TEXT


def _place_of(arguments: Sequence[str]) -> Options:
    """Where to act, as the command line says it, also when the whole of it does not parse."""
    pairs = (*itertools.pairwise(arguments), *(argument.partition("=")[::2] for argument in arguments))
    return {name: value for name, value in pairs if name in PLACE and value}


def _message_of(error: TyperException) -> str:
    """What a parsing error says; typer's own exceptions know it as `format_message`."""
    say = getattr(error, "format_message", None)
    return str(say()) if callable(say) else str(error)


def _interrupted() -> int:
    sink.write(sink.phrase("peft-assay: interrupted; the workspace is intact, run it again to go on\n"), sys.stderr)
    return int(Door.INTERRUPTED)


def main() -> None:
    """Entry point of the `peft-assay` command."""
    arguments = sys.argv[1:]
    if arguments[:1] != ["inspect"] or not hasattr(os, "fork"):
        sys.exit(run(arguments))
    from peft_assay.cli.watched import watched  # needs modules that only Unix has

    sys.exit(watched(run, arguments, _format_of(arguments)))


if __name__ == "__main__":
    main()
