"""`peft-assay init`: make a folder a project."""

from pathlib import Path
from typing import Annotated

import typer

from peft_assay.cli import output
from peft_assay.cli.options import Format, OutputFormat, Trust, WorkspaceFolder, place
from peft_assay.core.commands import with_options
from peft_assay.report import sink


def init(
    folder: Annotated[Path, typer.Argument(help="The project's folder.", metavar="FOLDER")] = Path(),
    base: Annotated[
        Path | None,
        typer.Option(
            "--base",
            help="The base's folder: task, dtype, labels, chat template and licence are taken from its files. Default: "
            "FOLDER/base, where one lies there.",
            metavar="DIR",
        ),
    ] = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Make peft-assay.yaml, development keys for three roles and a workspace. Adds only what is missing."""
    from peft_assay.pipeline.deployment import utc_now
    from peft_assay.pipeline.initialise import initialise

    where = place(None, workspace, trust)
    done = initialise(folder.absolute(), where, clock=utc_now, base=base)
    if output_format is Format.JSON:
        made, kept = ([str(path) for path in paths] for paths in (done.made, done.kept))
        output.document({"made": made, "kept": kept, "trust": str(done.trust)})
        return
    made_in = {} if folder == Path() else {"--context": str(folder)}
    for path in done.made:
        output.result(sink.phrase("made  {}\n", str(path)))
    for path in done.kept:
        output.result(sink.phrase("kept  {}\n", str(path)))
    output.result(
        sink.phrase(
            "The keys are development keys on this host: production gates refuse them.\nnext: edit {}, then {}\n",
            str(folder / "peft-assay.yaml"),
            with_options("peft-assay certify --plan SOURCE", {**made_in, **where.options}),
        )
    )
