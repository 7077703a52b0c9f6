"""`discover` for people: where, what, which base, how large, and what is wrong at a glance."""

from collections.abc import Iterator

from rich.console import Group
from rich.table import Table

from peft_assay.report import sink
from peft_assay.report.interface import Discovered, Inventory

_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_UNREAD_SHOWN = 5


def inventory(found: Inventory, *, tty: bool, width: int = 100) -> sink.Rendered:
    """One row for each adapter, then how far the walk came. Pipes get one line per adapter."""
    if not tty:
        lines = [_line(entry) for entry in found.found] + [sink.phrase("{}\n", line) for line in _closing(found)]
        return sink.Rendered("".join(lines))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading, ratio in (("where", 4), ("what", 2), ("base", 3), ("size", None), ("at a glance", 4)):
        table.add_column(heading, overflow="fold", ratio=ratio, no_wrap=False)
    for entry in found.found:
        style = "" if entry.usable and not entry.remarks else "yellow" if entry.usable else "red"
        table.add_row(
            sink.cell(_where(entry), "bold"),
            sink.cell(entry.peft_type or entry.kind),
            sink.cell(entry.base or "-"),
            sink.cell(size(entry.size)),
            sink.cell("; ".join(_remarks(entry)), style),
        )
    closing = [sink.cell(line, "dim") for line in _closing(found)]
    return sink.drawn(Group(table, sink.cell(""), *closing), width=width, colour=True)


def _line(entry: Discovered) -> sink.Rendered:
    return sink.phrase(
        "{}: {}; base {}; {}; {}\n",
        _where(entry),
        f"{entry.kind} ({entry.peft_type})" if entry.peft_type else entry.kind,
        entry.base or "-",
        size(entry.size),
        "; ".join(_remarks(entry)) or "nothing at a glance",
    )


def _where(entry: Discovered) -> str:
    if entry.repository is None or entry.commit is None:
        return entry.path
    named = f" ({', '.join(entry.references)})" if entry.references else ""
    return f"{entry.path} = {entry.repository}@{entry.commit[:12]}{named}"


def _remarks(entry: Discovered) -> Iterator[str]:
    if not entry.usable and not entry.remarks:
        yield entry.kind
    yield from entry.remarks


def _closing(found: Inventory) -> Iterator[str]:
    usable = sum(entry.usable for entry in found.found)
    clean = sum(entry.usable and not entry.remarks for entry in found.found)
    yield (
        f"{len(found.found)} found in {found.folders} folders: {usable} that PEFT reads, {clean} of them without a "
        "remark; only names and beginnings of files were read"
    )
    if found.stopped:
        yield f"the walk was not finished: {found.stopped}; name the places one by one"
    if found.shallow:
        yield f"{found.shallow} folders lie deeper than the walk goes (--max-depth)"
    if found.unread:
        more = f" and {len(found.unread) - _UNREAD_SHOWN} more" if len(found.unread) > _UNREAD_SHOWN else ""
        yield f"could not be opened: {'; '.join(found.unread[:_UNREAD_SHOWN])}{more}"


def size(count: int) -> str:
    """Bytes for people, in powers of 1000."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{count} bytes" if unit == 0 else f"{value:.3g} {_UNITS[unit]}"
