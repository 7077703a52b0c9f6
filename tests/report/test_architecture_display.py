"""Raw text reaches nobody: in report and cli, only the sink prints, writes, marks up or unwraps."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import peft_assay

PACKAGE = Path(peft_assay.__file__).parent
SINK = PACKAGE / "report" / "sink.py"
MODULES = sorted(p for room in ("report", "cli") for p in (PACKAGE / room).rglob("*.py") if p != SINK)
TEMPLATES = sorted((PACKAGE / "report" / "templates").iterdir())
CALLS = {"print", "echo", "secho", "pprint", "input"}
METHODS = {"print", "out", "log", "echo", "secho", "print_exception", "print_json", "writelines"}
NAMES = {"Markup", "Console", "escape"}


def breaches(source: str) -> Iterator[str]:
    """What in `source` could show text that the sink has not seen."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr="raw"):
                yield f"line {node.lineno}: .raw"
            case ast.Call(func=ast.Name(id=name)) if name in CALLS:
                yield f"line {node.lineno}: {name}()"
            case ast.Call(func=ast.Attribute(value=ast.Name(id="sink"))):
                pass
            case ast.Call(func=ast.Attribute(attr=name)) if name in METHODS:
                yield f"line {node.lineno}: .{name}()"
            case ast.Attribute(value=ast.Name(id="sys"), attr="stdout" | "stderr" as name) if not passed(source, node):
                yield f"line {node.lineno}: sys.{name} not handed to the sink"
            case ast.ImportFrom(names=names) | ast.Import(names=names):
                yield from (f"line {node.lineno}: imports {n.name}" for n in names if n.name in NAMES)
            case _:
                pass


def passed(source: str, node: ast.Attribute) -> bool:
    """Whether the stream is only handed on or asked what it is, not written to."""
    for parent in ast.walk(ast.parse(source)):
        if isinstance(parent, ast.Attribute) and parent.attr in {"write", "writelines", "buffer"}:
            inner = parent.value
            if isinstance(inner, ast.Attribute) and (inner.lineno, inner.col_offset) == (node.lineno, node.col_offset):
                return False
    return True


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_sink_shows_anything(module: Path) -> None:
    assert list(breaches(module.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_templates_leave_escaping_on(template: Path) -> None:
    text = template.read_text(encoding="utf-8")
    for forbidden in ("safe }}", "|safe", "| safe", "autoescape", "<script", "xlink", "http://", "https://"):
        assert forbidden not in text


@pytest.mark.parametrize(
    "source",
    [
        "print(x)",
        "typer.echo(x)",
        "console.print(x)",
        "text.raw",
        "sys.stdout.write(x)",
        "from markupsafe import Markup",
        "console.log(x)",
        "from rich.console import Console",
    ],
)
def test_the_check_sees_a_breach(source: str) -> None:
    assert list(breaches(source))


def test_the_check_lets_a_stream_be_handed_to_the_sink() -> None:
    assert list(breaches("sink.write(sink.phrase('x'), sys.stdout)")) == []
    assert list(breaches("sys.stdout.isatty()")) == []


def test_there_is_something_to_check() -> None:
    assert SINK.is_file()
    assert len([path for path in MODULES if path.parent.name == "report"]) >= 6
