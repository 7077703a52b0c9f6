"""The one way out: every renderer's text becomes visible here, and every character a person sees is written here.

`Rendered` is text in which nothing hostile is left. An architecture test keeps the other modules of `report` and `cli`
away from print, echo, Markup and raw text.
"""

import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, LiteralString, NewType, TextIO

from markupsafe import Markup
from rich.console import Console, RenderableType
from rich.text import Text as Cell

from peft_assay.core.display import Text
from peft_assay.core.errors import AssayError

Rendered = NewType("Rendered", str)
LIMIT = 4000
"""Characters of one value that people are shown, and LISTED items of a list; JSON output has all of it."""
LISTED = 20


def html(value: object) -> Markup:
    """`value` as HTML, for Jinja's ``finalize``: text escaped, macros passed through, anything unexpected refused."""
    match value:
        case Markup():
            return value
        case None:
            return Markup("–")
        case Text():
            return Markup(value.html(LIMIT))  # noqa: S704 - escaped by core.display
        case _:
            return Markup(Text(plain(value)).html(LIMIT))  # noqa: S704 - escaped by core.display


def plain(value: object) -> str:
    """`value` as people read it, not yet escaped: booleans as policies write them, times in UTC."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.4g}"
        case str() | int():
            return str(value)
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        case tuple():
            more = [f"and {len(value) - LISTED} more"] if len(value) > LISTED else []
            return f"[{', '.join([*(plain(item) for item in value[:LISTED]), *more])}]"
        case None:
            return "–"
        case _:
            raise TypeError(f"{type(value).__name__} is not shown to people")


def counted(number: int, what: str) -> str:
    """`number` of the noun `what`, in the right number."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def instant(moment: datetime) -> str:
    """`moment` as documents for programs have it: UTC, whole seconds, ``2026-01-31T23:59:59Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def cell(value: object, style: str = "") -> Cell:
    """`value` as one terminal cell: visible characters only, no markup interpreted."""
    return Cell(Text(plain(value)).terminal(LIMIT), style=style, no_wrap=False, overflow="fold")


def phrase(template: LiteralString, *values: object) -> Rendered:
    """Our own words with hostile `values` in their ``{}`` places, each visible on one line."""
    return Rendered(template.format(*(Text(plain(value)).terminal(LIMIT) for value in values)))


def drawn(what: RenderableType, *, width: int, colour: bool) -> Rendered:
    """A rich renderable as text of `width` columns; cells come from `cell`."""
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width,
        force_terminal=colour,
        no_color=not colour,
        color_system="standard" if colour else None,
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
        _environ={},
    )
    console.print(what)
    return Rendered("\n".join(line.rstrip() for line in buffer.getvalue().split("\n")))


def error_console() -> Console:
    """Where progress is drawn: standard error, no markup. Descriptions must be `Rendered`."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False)


def json_text(document: Mapping[str, Any] | Sequence[Any]) -> Rendered:
    """`document` as JSON that loses nothing and is pure printable ASCII, so that a terminal shows it as it is."""
    return Rendered(json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n")


def json_lines(document: Mapping[str, Any]) -> list[str]:
    """`document` as indented JSON, line by line, for people; each line is still to be rendered."""
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True, default=str).split("\n")


def error(problem: AssayError) -> Rendered:
    """An error for people: what, where, and the one next step."""
    text = phrase("peft-assay: {}", str(problem))
    if problem.next_step:
        text = Rendered(f"{text}\n  next: {phrase('{}', problem.next_step)}")
    return Rendered(f"{text}\n")


def write(text: Rendered, stream: TextIO) -> None:
    """Writes rendered text; a stream that cannot encode a character shows its code point instead."""
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()
