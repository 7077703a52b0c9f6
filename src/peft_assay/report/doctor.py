"""`doctor` for people and for programs: the level, what it is built of, and the one command that would raise it."""

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from peft_assay.core.errors import Door
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.report import sink
from peft_assay.report.diagnosis import Diagnosis, Extra, State, TriedBase, TriedWalls
from peft_assay.report.jsonout import FORMAT

_STYLES = {State.OK: "green", State.MISSING: "bold red", State.UNUSED: "dim"}
_NOTHING_RAISES = "nothing on this host would raise the level"


def diagnosis(found: Diagnosis, *, tty: bool, width: int = 100) -> sink.Rendered:
    """The level first; then layers, walls and extras, one row each; the next step last."""
    if not tty:
        return sink.Rendered("".join(f"{line.rstrip()}\n" for line in _lines(found)))
    style = "bold green" if found.door is Door.PASSED else "bold red"
    blank = sink.cell("")
    parts: list[RenderableType] = [sink.cell(_heading(found), style), blank, _layers(found), blank]
    if found.walls:
        parts += [_walls(found), blank]
    parts += [_extras(found), blank]
    parts += [sink.cell(line, "yellow") for line in found.warnings]
    if found.base is not None:
        parts.append(sink.cell(_base(found.base), "bold red" if found.base.problem else ""))
    parts.append(sink.cell(_closing(found), "bold"))
    return sink.drawn(Group(*parts), width=width, colour=True)


def document(found: Diagnosis) -> sink.Rendered:
    """The same for programs."""
    return sink.json_text(
        {
            "format": FORMAT,
            "door": found.door.value,
            "level": int(found.level),
            "levelName": level_name(found.level),
            "backend": found.backend,
            "nextStep": found.next_step,
            "layers": [
                {"name": layer.name, "state": layer.state.value, "detail": layer.detail, "remedy": layer.remedy}
                for layer in found.layers
            ],
            "walls": [_walls_document(walls) for walls in found.walls],
            "extras": [_extra_document(extra) for extra in found.extras],
            "warnings": list(found.warnings),
            "base": None if found.base is None else _base_document(found.base),
        }
    )


def level_name(level: IsolationLevel) -> str:
    """As reports write it."""
    return level.name.lower()


def _lines(found: Diagnosis) -> Iterator[str]:
    yield sink.phrase("{}", _heading(found))
    for layer in found.layers:
        yield sink.phrase("{} {} {}", f"{layer.name:<16}", f"{layer.state.value:<8}", layer.detail)
        if layer.remedy:
            yield sink.phrase("{} {}", f"{'':<16} {'remedy:':<8}", layer.remedy)
    for walls in found.walls:
        yield sink.phrase("walls {} {} {}", f"{walls.name:<10}", f"{level_name(walls.level):<18}", _said(walls))
    for extra in found.extras:
        yield sink.phrase("extra {} {}", f"{extra.name:<10}", _installed(extra))
    for line in found.warnings:
        yield sink.phrase("warning: {}", line)
    if found.base is not None:
        yield sink.phrase("{}", _base(found.base))
    yield sink.phrase("{}", _closing(found))


def _heading(found: Diagnosis) -> str:
    shown = next((walls for walls in found.walls if walls.name == found.backend), None)
    if shown is None:
        return f"isolation level: {level_name(found.level)}: adapters cannot be exercised here"
    attacks = f"{shown.stopped} of {len(shown.attacks)} start-up attacks stopped"
    return f"isolation level: {level_name(found.level)} ({int(found.level)}), walls: {shown.name}, {attacks}"


def _layers(found: Diagnosis) -> Table:
    table = _table("layer", "state", "what")
    for layer in found.layers:
        what = [sink.cell(layer.detail)]
        if layer.remedy:
            what.append(sink.cell(layer.remedy, "bold"))
        table.add_row(sink.cell(layer.name), sink.cell(layer.state.value, _STYLES[layer.state]), Group(*what))
    return table


def _walls(found: Diagnosis) -> Table:
    table = _table("walls", "level shown", "start-up attacks")
    for walls in found.walls:
        style = "" if walls.attacks else "red"
        table.add_row(sink.cell(walls.name), sink.cell(level_name(walls.level)), sink.cell(_said(walls), style))
    return table


def _extras(found: Diagnosis) -> Table:
    table = _table("extra", "for", "installed")
    for extra in found.extras:
        style = "" if not extra.absent else "yellow"
        table.add_row(sink.cell(extra.name), sink.cell(extra.purpose), sink.cell(_installed(extra), style))
    return table


def _said(walls: TriedWalls) -> str:
    stopped = f"{walls.stopped} of {len(walls.attacks)} stopped" if walls.attacks else ""
    return "; ".join(part for part in (stopped, walls.problem) if part)


def _installed(extra: Extra) -> str:
    return f"no: {extra.install}" if extra.absent else "yes"


def _base(base: TriedBase) -> str:
    if base.problem:
        return f"base {base.folder}: {base.problem}"
    return f"base {base.folder}: {base.parameters:,} parameters, {base.state}; the reference adapter runs, 0 events"


def _closing(found: Diagnosis) -> str:
    if not found.next_step:
        return _NOTHING_RAISES
    wants = "to exercise adapters" if found.level < IsolationLevel.PROCESS else "to raise the level"
    return f"{wants}: {found.next_step}"


def _walls_document(walls: TriedWalls) -> dict[str, Any]:
    return {
        "name": walls.name,
        "level": int(walls.level),
        "levelName": level_name(walls.level),
        "attacks": dict(walls.attacks),
        "unseen": list(walls.unseen),
        "problem": walls.problem,
    }


def _extra_document(extra: Extra) -> dict[str, Any]:
    return {
        "name": extra.name,
        "purpose": extra.purpose,
        "installed": not extra.absent,
        "versions": dict(extra.versions),
        "absent": list(extra.absent),
        "install": extra.install,
    }


def _base_document(base: TriedBase) -> dict[str, Any]:
    return {
        "folder": base.folder,
        "usable": not base.problem,
        "parameters": base.parameters,
        "state": base.state,
        "problem": base.problem,
    }


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
