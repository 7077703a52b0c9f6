# ruff: noqa: E501 - prose, table rows and examples stand on one line, as they do in the page
"""docs/reference/cli.md: the commands from their own signatures, independent of how a library lays out help texts."""

import inspect
import typing
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from reference_tables import table
from typer import Typer
from typer.models import ArgumentInfo, OptionInfo

from peft_assay.cli.main import app

SHORT = {Path: "path", str: "text"}


def commands() -> str:
    """The whole page."""
    head = (
        "# Commands\n\n"
        "`peft-assay --version` prints the version, `peft-assay COMMAND --help` what stands here. Results go to standard "
        "output, progress and errors to standard error. [Exit codes](exit-codes.md) have a page of their own.\n"
    )
    return "\n".join([head, *(_command(name, callback) for name, callback in _named(app))])


def _named(group: Typer, before: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every command under its whole name; those of a group follow one another."""
    for command in group.registered_commands:
        if command.callback is not None:
            yield f"{before}{command.name or command.callback.__name__}", command.callback
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            yield from _named(inner.typer_instance, f"{before}{inner.name} ")


def _command(name: str, callback: Callable[..., Any]) -> str:
    rows = list(_rows(callback))
    arguments = " ".join(name for name, _, _, is_argument in rows if is_argument)
    documentation = " ".join((callback.__doc__ or "").split())
    return (
        f"## {name}\n\n```\npeft-assay {name} [OPTIONS] {arguments}".rstrip()
        + f"\n```\n\n{documentation}\n\n"
        + table(["", "value", "meaning"], [[f"`{name}`", value, meaning] for name, value, meaning, _ in rows])
    )


def _rows(callback: Callable[..., Any]) -> Iterator[tuple[str, str, str, bool]]:
    hints = typing.get_type_hints(callback, include_extras=True)
    for name, parameter in inspect.signature(callback).parameters.items():
        kind, info = _annotated(hints[name])
        is_argument = isinstance(info, ArgumentInfo)
        optional = parameter.default is not inspect.Parameter.empty
        yield _shown(name, info, optional=optional), _value(kind, parameter.default, info), info.help or "", is_argument


def _shown(name: str, info: ArgumentInfo | OptionInfo, *, optional: bool) -> str:
    if isinstance(info, ArgumentInfo):
        shown = (info.metavar or name).strip("[]")
        return f"[{shown}]" if optional else shown
    # With Annotated, typer keeps the first declared name where a default would stand.
    first = [info.default] if isinstance(info.default, str) and info.default.startswith("-") else []
    return ", ".join([*first, *(info.param_decls or ())]) or f"--{name}"


def _annotated(hint: Any) -> tuple[Any, ArgumentInfo | OptionInfo]:
    # `Annotated[...] = None` may be read back as `Optional[Annotated[...]]`.
    if not hasattr(hint, "__metadata__"):
        hint = next(part for part in typing.get_args(hint) if hasattr(part, "__metadata__"))
    info = next(item for item in hint.__metadata__ if isinstance(item, ArgumentInfo | OptionInfo))
    return typing.get_args(hint)[0], info


def _value(kind: Any, default: Any, info: ArgumentInfo | OptionInfo) -> str:
    kinds = [part for part in typing.get_args(kind) if part is not type(None)] or [kind]
    inner = typing.get_args(kinds[0])[0] if typing.get_origin(kinds[0]) is list else kinds[0]
    if inner is bool:
        return "flag"
    if isinstance(inner, type) and issubclass(inner, Enum):
        choices = " or ".join(f"`{item.value}`" for item in inner)
        return f"{choices}; `{default.value}` if not given" if isinstance(default, Enum) else choices
    shown = info.metavar or SHORT.get(inner, "value")
    return f"{shown.strip('[].')}; `{default}` if not given" if isinstance(default, Path) else shown.strip("[].")
