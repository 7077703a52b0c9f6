"""The fields of a task, for each document: a column, a template, or the value itself, as the harness has them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from peft_assay.core.errors import DocumentError
from peft_assay.observe.suites.importing.interface import Render, Template

Rows = Sequence[Mapping[str, Any]]


class Templates(Protocol):
    """The part of a task that speaks of documents."""

    @property
    def doc_to_text(self) -> str: ...
    @property
    def doc_to_target(self) -> str | int: ...
    @property
    def doc_to_choice(self) -> str | list[str] | dict[str, str] | None: ...
    @property
    def description(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Fields:
    """All values, by field and document."""

    values: Mapping[str, Sequence[Any]]
    where: str

    @classmethod
    def of(cls, task: Templates, rows: Rows, render: Render, *, where: str) -> "Fields":
        """Columns as they are, templates rendered. Raises DocumentError that names field and document."""
        written: dict[str, Any] = {
            "doc_to_text": task.doc_to_text,
            "doc_to_target": task.doc_to_target,
            "doc_to_choice": task.doc_to_choice,
            "description": task.description,
        }
        columns = set(rows[0])
        templates = [
            Template(text, f"{where}: {field}", literal=field == "doc_to_choice")
            for field, text in written.items()
            if isinstance(text, str) and text not in columns
        ]
        rendered = render(templates, rows)
        values: dict[str, Sequence[Any]] = {}
        for field, text in written.items():
            at = next((n for n, template in enumerate(templates) if template.field == f"{where}: {field}"), None)
            if at is not None:
                values[field] = [row[at] for row in rendered]
                if field == "doc_to_target" and task.doc_to_choice is not None:
                    values[field] = [int(text) if text.isdecimal() else text for text in values[field]]
            elif isinstance(text, str):
                values[field] = [row[text] for row in rows]
            else:
                values[field] = [list(text.values()) if isinstance(text, dict) else text] * len(rows)
        return cls(values, where)

    def text(self, at: int) -> str:
        """What is asked."""
        return self._text("doc_to_text", at)

    def description(self, at: int) -> str:
        """What stands before everything."""
        return self._text("description", at)

    def choices(self, at: int) -> list[str]:
        """The alternatives."""
        value = self.values["doc_to_choice"][at]
        if not isinstance(value, list) or not all(isinstance(choice, str) for choice in value):
            raise self._wrong("doc_to_choice", at, "not a list of texts")
        return value

    def gold(self, at: int) -> int:
        """Index of the right choice; -1 where the target is none of them."""
        value = self.values["doc_to_target"][at]
        if isinstance(value, str):
            choices = self.choices(at)
            return choices.index(value) if value in choices else -1
        if type(value) is not int:
            raise self._wrong("doc_to_target", at, "neither a text nor an index: several targets are not imported")
        return value

    def answer(self, at: int) -> str:
        """The right answer as text."""
        value = self.values["doc_to_target"][at]
        if self.values["doc_to_choice"][at] is not None:
            choices, gold = self.choices(at), self.gold(at)
            if not 0 <= gold < len(choices):
                raise self._wrong("doc_to_target", at, "none of its choices")
            return choices[gold]
        if isinstance(value, str) and value[:1] == "[" and value[-1:] == "]":
            raise self._wrong("doc_to_target", at, "several targets are not imported")
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self._wrong("doc_to_target", at, "neither a text nor a number")
        return str(value)

    def _text(self, field: str, at: int) -> str:
        value = self.values[field][at]
        if not isinstance(value, str):
            raise self._wrong(field, at, "not a text: several inputs are not imported")
        return value

    def _wrong(self, field: str, at: int, why: str) -> DocumentError:
        return DocumentError(f"document {at + 1}: {why}", where=f"{self.where}: {field}")
