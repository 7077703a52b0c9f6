"""Options that several commands share."""

import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from peft_assay.core.errors import UsageError
from peft_assay.pipeline.place import Place


class Format(StrEnum):
    """How results are written."""

    TEXT = "text"
    JSON = "json"


Sources = Annotated[
    list[str] | None,
    typer.Argument(
        help="Folders or archives (.zip, .tar.*) of adapters, SOURCE:FOLDER for one folder in it, "
        "hf://org/name@revision, s3:// gs:// az:// prefixes, or aliases of peft-assay.yaml. Default: all its aliases.",
        metavar="SOURCE",
    ),
]
Context = Annotated[
    Path | None,
    typer.Option("--context", help="peft-assay.yaml, or its folder. Default: found from here upward.", metavar="FILE"),
]
WorkspaceFolder = Annotated[
    Path | None,
    typer.Option("--workspace", help="Folder that holds .peft-assay/. Default: beside peft-assay.yaml.", metavar="DIR"),
]
Trust = Annotated[
    Path | None,
    typer.Option(
        "--trust",
        help="Folder of the trust anchor. Default: /etc/peft-assay, else ~/.config/peft-assay. Never read from the "
        "environment or from what is judged.",
        metavar="DIR",
    ),
]
OutputFormat = Annotated[Format, typer.Option("--format", help="text, or json for programs.")]
_DAYS = re.compile(r"([1-9][0-9]{0,2})d")


def days(text: str) -> timedelta:
    """What ``--valid`` says; raises UsageError for anything but a number of days."""
    match = _DAYS.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a number of days", where="--valid", next_step="--valid 30d")
    return timedelta(days=int(match[1]))


def place(context: Path | None, workspace: Path | None, trust: Path | None) -> Place:
    """Where to act, as the invoker said."""
    return Place(context, workspace, trust)
