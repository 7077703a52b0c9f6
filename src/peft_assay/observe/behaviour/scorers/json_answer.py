"""The JSON value of an answer, strictly: duplicate keys, NaN and a second value are none."""

import re
from typing import Any

from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json

MAX_VALUES = 2_000
"""Values (objects, lists and what is in them) of an answer; with `schema.MAX_NODES` it bounds the time of a check."""
_WRAPPED = re.compile(
    r"\s*(?:```(?:json)?[ \t]*\n(?P<fence>.*)\n[ \t]*```|<tool_call>(?P<tag>.*)</tool_call>)\s*", re.DOTALL
)


class NotJson(ValueError):
    """The answer is no JSON value."""


def json_of(answer: str) -> Any:
    """The value that the whole answer is, or the whole answer's one fence or ``<tool_call>`` holds; else NotJson."""
    wrapped = _WRAPPED.fullmatch(answer)
    text = answer if wrapped is None else wrapped["fence"] or wrapped["tag"] or ""
    try:
        value = parse_json(text.encode("utf-8", "surrogatepass"), where="answer")
    except DocumentError as error:
        raise NotJson(error.message) from None
    if _count(value) > MAX_VALUES:
        raise NotJson(f"more than {MAX_VALUES} values")
    return value


def _count(value: Any) -> int:
    stack, seen = [value], 0
    while stack:
        item = stack.pop()
        seen += 1
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
    return seen
