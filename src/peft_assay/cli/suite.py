"""`peft-assay suite`: write, check, sign and import suites."""

from pathlib import Path
from typing import Annotated

import typer

from peft_assay.cli import output
from peft_assay.cli.options import Context, Format, OutputFormat, place
from peft_assay.core.errors import Door

suite = typer.Typer(
    name="suite",
    help="Write, check, sign and import suites. Nothing here runs an adapter.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Suite = Annotated[Path, typer.Argument(help="Folder of a suite, or its suite.yaml.", metavar="SUITE")]


@suite.command(short_help="Say what a suite cannot show, and how many cases rules need.")
def lint(
    named: Annotated[
        Path | None,
        typer.Argument(
            help="Folder of a suite, its suite.yaml, or a project. Default: every suite of peft-assay.yaml.",
            metavar="[SUITE|PROJECT]",
        ),
    ] = None,
    context: Context = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Say what a suite cannot show: answers that know nothing and pass, repeats, lengths, and the n that rules need."""
    from peft_assay.pipeline.suites.lint import documents_of, lint_suites
    from peft_assay.report import suites as shown

    found = lint_suites(named, place(context, None, None))
    documents = documents_of(found)
    if output_format is Format.JSON:
        output.document({"suites": documents})
    else:
        output.result(shown.lint_text(documents))
    raise typer.Exit(int(Door.PASSED if all(one.sound for one in found) else Door.FAILED))


@suite.command(short_help="Write a first suite to fill in.")
def new(
    folder: Annotated[Path, typer.Argument(help="Where to write suite.yaml and cases.jsonl.", metavar="FOLDER")],
    scorer: Annotated[
        str, typer.Option("--scorer", help="Kind of scorer; docs/reference/suite-document.md.")
    ] = "exact",
    name: Annotated[str | None, typer.Option("--id", help="Id of the suite. Default: after the folder.")] = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Write a first suite to fill in; nothing that is there is overwritten."""
    from peft_assay.pipeline.suites.write import new_suite
    from peft_assay.report import suites as shown

    paths = [str(path) for path in new_suite(folder, scorer, name)]
    step = f"replace its cases by yours, then: peft-assay suite lint {folder}"
    if output_format is Format.JSON:
        output.document({"written": paths, "nextStep": step})
    else:
        output.result(shown.written_text(paths, step))


@suite.command(short_help="Sign both files of a suite as its owner.")
def sign(
    named: Suite,
    key: Annotated[
        Path, typer.Option("--key", help="Private key of the suite's owner: PEM, ed25519 or P-256.", metavar="FILE")
    ],
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Sign both files of a suite as its owner, into suite.dsse.json beside them."""
    from peft_assay.pipeline.suites.write import sign as make
    from peft_assay.report import suites as shown

    path, digest, public = make(named, key)
    if output_format is Format.JSON:
        output.document({"written": str(path), "suite": digest, "keyid": public.keyid})
    else:
        output.result(shown.signed_text(str(path), digest, public.keyid))


@suite.command(name="import", short_help="Make a suite of another harness's task, or of real traffic.")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="A task of lm-evaluation-harness (.yaml) with local data, or chat logs (.jsonl of messages).",
            metavar="FILE",
        ),
    ],
    to: Annotated[Path, typer.Option("--to", help="Folder to write the suite to.", metavar="FOLDER")],
    name: Annotated[str | None, typer.Option("--id", help="Id of the suite. Default: after the folder.")] = None,
    cases: Annotated[
        int, typer.Option("--cases", min=2, max=100_000, help="Chat logs: how many conversations to draw.")
    ] = 200,
    judge: Annotated[
        str | None, typer.Option("--judge", help="Chat logs: name of the judge; without it, answers must not refuse.")
    ] = None,
    source: Annotated[str | None, typer.Option("--source", help="Where it comes from. Default: the file.")] = None,
    period: Annotated[str | None, typer.Option("--period", help="When it was collected, such as 2026-Q3.")] = None,
    confidentiality: Annotated[
        str | None,
        typer.Option(
            "--confidentiality", help="public, internal or confidential. Default: confidential for chat logs."
        ),
    ] = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Make a suite of a task of another harness, or a sample of real conversations: secrets out, repeats out."""
    from peft_assay.pipeline.suites.importing import Wanted, import_file
    from peft_assay.report import suites as shown

    document = import_file(file, to, Wanted(name, cases, judge, source, period, confidentiality))
    if output_format is Format.JSON:
        output.document(document)
    else:
        output.result(shown.imported_text(document))
