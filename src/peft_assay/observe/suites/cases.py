"""The cases file: one JSON object a line, each checked by the form of the suite's scorer."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json, validate
from peft_assay.core.suite import Case, Message, Prompt, ScorerKind
from peft_assay.observe.suites.forms import FORMS

MAX_CASES = 100_000
MAX_PROMPT = 100_000
"""Characters."""
MAX_MESSAGES = 200
FIELDS = ("expected", "choices", "answer", "forbidden")


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class MessageLine(_Closed):
    """One turn."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = Field(max_length=MAX_PROMPT)


class CaseLine(_Closed):
    """One line of the cases file."""

    id: str = Field(min_length=1, max_length=200)
    prompt: str | None = Field(default=None, max_length=MAX_PROMPT)
    messages: list[MessageLine] | None = Field(default=None, min_length=1, max_length=MAX_MESSAGES)
    expected: str | dict[str, Any] | list[dict[str, Any]] | None = None
    choices: list[str] = Field(default_factory=list, max_length=26)
    answer: int | None = Field(default=None, ge=0)
    forbidden: list[str] = Field(default_factory=list, max_length=100)


def read_cases(content: bytes, kind: ScorerKind, *, where: str) -> tuple[Case, ...]:
    """All cases; raises DocumentError that names line and field. Ids and prompts are each there once."""
    lines = [(number, line) for number, line in enumerate(content.splitlines(), start=1) if line.strip()]
    if not 1 <= len(lines) <= MAX_CASES:
        raise DocumentError(f"{len(lines)} cases; a suite has 1 to {MAX_CASES}", where=where)
    cases = tuple(_read_case(line, kind, f"{where}: line {number}") for number, line in lines)
    _refuse_repeats(cases, kind, where)
    return cases


def _read_case(content: bytes, kind: ScorerKind, where: str) -> Case:
    line = validate(CaseLine, parse_json(content, where=where), where=where)
    form = FORMS[kind]
    given = {name for name in FIELDS if getattr(line, name) not in (None, [])}
    if not form.case_needs <= given <= form.case_needs | form.case_may:
        names = " and ".join(sorted(form.case_needs)) or "no more than a prompt"
        also = f" (and may give {', '.join(sorted(form.case_may))})" if form.case_may else ""
        raise DocumentError(
            f"a case for scorer {kind} gives {names}{also}, not {sorted(given) or 'nothing'}", where=where
        )
    if line.answer is not None:
        _check_choices(line.choices, line.answer, where)
    if line.prompt == "" and kind is not ScorerKind.PERPLEXITY:
        raise DocumentError("prompt: is empty; only a text's perplexity may be asked without one", where=where)
    if not all(line.forbidden):
        raise DocumentError("forbidden: a text is empty", where=where)
    return Case(
        line.id,
        _prompt(line, where),
        _expected(line.expected, kind, where),
        tuple(line.choices),
        line.answer,
        tuple(line.forbidden),
    )


def _prompt(line: CaseLine, where: str) -> Prompt:
    if (line.prompt is None) == (line.messages is None):
        raise DocumentError("a case gives either prompt or messages", where=where)
    if line.messages is None:
        return str(line.prompt)
    roles = [message.role for message in line.messages]
    if roles[-1] not in {"user", "tool"}:
        raise DocumentError("messages: the last one is the user's or a tool's: the answer comes after it", where=where)
    if "system" in roles[1:]:
        raise DocumentError("messages: only the first one may be the system's", where=where)
    if sum(len(message.content) for message in line.messages) > MAX_PROMPT:
        raise DocumentError(f"messages: more than {MAX_PROMPT} characters in all", where=where)
    if not line.messages[-1].content.strip():
        raise DocumentError(f"messages.{len(roles) - 1}.content: is blank", where=where)
    return tuple(Message(message.role, message.content) for message in line.messages)


def _expected(value: Any, kind: ScorerKind, where: str) -> str | None:
    if value is None or isinstance(value, str):
        if value is not None and not value.strip():
            raise DocumentError("expected: is blank, and so is the answer of a model that says nothing", where=where)
        return value
    if kind is not ScorerKind.TOOL_CALL:
        raise DocumentError("expected: is text, but for scorer toolCall", where=where)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _check_choices(choices: Sequence[str], answer: int, where: str) -> None:
    if len(choices) < 2 or len(set(choices)) != len(choices) or not all(choices):
        raise DocumentError("choices are at least two, not empty, each once", where=where)
    if answer >= len(choices):
        raise DocumentError(f"answer {answer} is not an index into {len(choices)} choices", where=where)


def _refuse_repeats(cases: Sequence[Case], kind: ScorerKind, where: str) -> None:
    """Raises DocumentError for a second case of an id, and for one of a prompt: repeated, or contradicted.

    Several texts may follow one prompt, or none, where their perplexity is taken.
    """
    ids: dict[str, int] = {}
    prompts: dict[tuple[Prompt, str | None], int] = {}
    for number, case in enumerate(cases, start=1):
        if case.id in ids:
            raise DocumentError(f"case {number} repeats the id of case {ids[case.id]}", where=where)
        asked = (case.prompt, case.expected if kind is ScorerKind.PERPLEXITY else None)
        if asked in prompts:
            earlier = cases[prompts[asked] - 1]
            same = (case.expected, case.choices, case.answer) == (earlier.expected, earlier.choices, earlier.answer)
            what = "repeats the prompt of" if same else "contradicts: another right answer to the prompt of"
            raise DocumentError(f"case {number} {what} case {prompts[asked]}", where=where)
        ids[case.id] = prompts[asked] = number
