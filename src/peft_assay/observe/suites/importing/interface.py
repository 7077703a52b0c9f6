"""What an import gives: a header and cases, as they will be written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ReadFile = Callable[[str, str], bytes]
"""Content of a file by its name relative to the imported one's folder, and the field that names it. Stays inside."""


@dataclass(frozen=True, slots=True)
class Template:
    """A Jinja template, where it stands, and whether what it renders is to be read as a literal."""

    text: str
    field: str
    literal: bool = False


Render = Callable[[Sequence[Template], Sequence[Mapping[str, Any]]], list[list[Any]]]
"""Each template for each document, rows by document, in a process of its own; raises DocumentError."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A suite that is not yet written down."""

    header: Mapping[str, Any]
    """What the import decides of suite.yaml: scorer, maxNewTokens, description, version, confidentiality."""
    cases: Sequence[Mapping[str, Any]]
    """Lines of the cases file, without ids."""
    notes: Sequence[str] = field(default_factory=tuple)
    """What was left out or changed."""
