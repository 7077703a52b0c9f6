"""Where the conversation is in a line of a log: chat completions, requests with responses, batch files.

OpenAI's interface and its imitations write one conversation in many wrappings. Each gives the messages that were sent,
and what was answered as one message more.
"""

from collections.abc import Mapping
from typing import Any

Line = Mapping[str, Any]
_REQUESTS = ("body", "request", "params")
"""Fields that hold what was sent: batch files, logs of gateways, message batches."""
_PARTS = {"input_text": "text", "output_text": "text"}


def messages_in(line: Line) -> list[Any] | None:
    """Return the messages of `line`, those that were answered at the end; None where it says nothing that was sent."""
    sent = _sent(line)
    if sent is None:
        for name in _REQUESTS:
            inner = line.get(name)
            sent = messages_in(inner) if isinstance(inner, Mapping) else None
            if sent is not None:
                break
    return None if sent is None else [*sent, *_answered(line)]


def is_response(line: Line) -> bool:
    """Whether `line` holds an answer, or an error instead of one, and nothing that was asked."""
    return messages_in(line) is None and any(name in line for name in ("choices", "output", "response", "error"))


def _sent(line: Line) -> list[Any] | None:
    if isinstance(line.get("messages"), list):
        system = line.get("system")
        return [*_system(system), *line["messages"]]
    given = line.get("input")
    if isinstance(given, str):
        return [*_system(line.get("instructions")), {"role": "user", "content": given}]
    if isinstance(given, list) and given and all(isinstance(item, Mapping) for item in given):
        return [*_system(line.get("instructions")), *map(_item, given)]
    return None


def _system(text: Any) -> list[Any]:
    return [{"role": "system", "content": text}] if isinstance(text, str) and text.strip() else []


def _answered(line: Line) -> list[Any]:
    """The first answer in `line` itself, or in its response; nothing where there is none."""
    for place in (line, line.get("response"), _within(line.get("response"), "body")):
        if not isinstance(place, Mapping):
            continue
        choices, output = place.get("choices"), place.get("output")
        if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
            message = choices[0].get("message")
            return [message] if isinstance(message, Mapping) else []
        if isinstance(output, list):
            said = [_item(item) for item in output if isinstance(item, Mapping) and item.get("role") == "assistant"]
            return said[:1]
    return []


def _within(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _item(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """An item of a response as a message: its parts by chat's names; a call or its result as a call of a tool."""
    if "role" not in item:
        return {"role": "assistant", "content": None, "tool_calls": [{}]}
    content = item.get("content")
    if isinstance(content, list):
        parts = [
            {**part, "type": _PARTS.get(part["type"], part["type"])}
            if isinstance(part, Mapping) and isinstance(part.get("type"), str)
            else part
            for part in content
        ]
        return {**item, "content": parts}
    return item
