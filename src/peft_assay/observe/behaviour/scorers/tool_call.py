"""toolCall: the answer is the expected call, or the expected calls in any order.

A call is ``{"name": text, "arguments": {...}}``; keys come in any order, values are compared with their types: 1 is
neither 1.0 nor "1" nor true.
"""

from collections.abc import Sequence
from typing import Any

from peft_assay.core.suite import Case, ScorerKind, Suite
from peft_assay.observe.behaviour.scorers.interface import Scores
from peft_assay.observe.behaviour.scorers.json_answer import NotJson, json_of

MOST_CALLS = 50


class ToolCallScorer:
    """Compares calls."""

    kind = ScorerKind.TOOL_CALL

    def of(self, suite: Suite, *, where: str) -> Scores:  # noqa: ARG002 - cases are checked where they are read
        """The same for every suite."""
        return _called


def _called(case: Case, answer: str) -> bool:
    try:
        wanted, given = calls_of(case.expected or ""), calls_of(answer)
    except NotJson:
        return False
    return _same_calls(wanted, given)


def calls_of(text: str) -> list[dict[str, Any]]:
    """The calls that `text` makes; raises NotJson where it makes none, or writes one in another form."""
    value = json_of(text)
    calls = value if isinstance(value, list) else [value]
    if not 1 <= len(calls) <= MOST_CALLS:
        raise NotJson(f"not 1 to {MOST_CALLS} calls")
    return [_call(call) for call in calls]


def _call(value: Any) -> dict[str, Any]:
    match value:
        case {"name": str(name), "arguments": dict(), **rest} if name and not rest:
            return dict(value)
        case _:
            raise NotJson('a call is {"name": text, "arguments": {...}} and nothing else')


def _same_calls(wanted: Sequence[dict[str, Any]], given: Sequence[dict[str, Any]]) -> bool:
    left = list(given)
    for call in wanted:
        at = next((number for number, other in enumerate(left) if same(call, other)), None)
        if at is None:
            return False
        del left[at]
    return not left


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal in value and type."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
