"""Chat logs as a suite: JSON lines of ``{"messages": [...]}``, bare or as requests, batches, responses wrap them.

A case is a conversation up to the last thing that a user said. What was answered to it is not the right answer: it is
kept only for a judge to compare with.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from peft_assay.core.digest import sha256
from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json
from peft_assay.core.suite import Message
from peft_assay.observe.suites.cases import MAX_MESSAGES, MAX_PROMPT
from peft_assay.observe.suites.importing.interface import Imported
from peft_assay.observe.suites.importing.redact import redacted
from peft_assay.observe.suites.importing.sampling import distinct, sample, stratum_of
from peft_assay.observe.suites.importing.wrappings import is_response, messages_in

MOST_LINES = 1_000_000
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_ALONE = "an answer without what was asked: import the file of requests"
Turns = tuple[Message, ...]


class _Unusable(Exception):
    """Why a well-formed conversation cannot be a case."""


def import_chat_logs(content: bytes, *, cases: int, judge: str | None, where: str) -> Imported:
    """A sample of `cases` conversations; raises DocumentError naming line and field, and where too few are usable."""
    found, unusable, secrets = _read(content, where)
    kept = [found[at] for at in distinct([turns for turns, _ in found])]
    chosen = [kept[at] for at in sample([turns for turns, _ in kept], cases, sha256(content))]
    if len(chosen) < 2:
        told = ", ".join(f"{n} {why}" for why, n in unusable.items()) or "it has no more"
        raise DocumentError(f"{len(chosen)} usable conversations: {told}", where=where)
    strata = len({stratum_of(turns) for turns, _ in kept})
    notes = [
        f"{len(found)} usable conversations, {len(found) - len(kept)} of them repeats",
        f"{len(chosen)} drawn from {strata} strata of system prompt, length and turns",
        f"{secrets} secrets redacted; personal data is not recognised: look before you share",
        *(f"{n} left out: {why}" for why, n in sorted(unusable.items())),
    ]
    scorer = {"kind": "compliance"} if judge is None else {"kind": "judge", "judge": judge}
    header = {
        "description": "conversations sampled from real traffic",
        "confidentiality": "confidential",
        "scorer": scorer,
        "maxNewTokens": 256,
    }
    return Imported(header, [_case(turns, answer if judge is not None else None) for turns, answer in chosen], notes)


def _case(turns: Turns, answer: str | None) -> Mapping[str, Any]:
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    return {"messages": messages} | ({"expected": answer} if answer else {})


def _read(content: bytes, where: str) -> tuple[list[tuple[Turns, str | None]], Counter[str], int]:
    """Usable conversations, why others are not, and how many secrets were in those that are."""
    lines = [(number, line) for number, line in enumerate(content.splitlines(), start=1) if line.strip()]
    if len(lines) > MOST_LINES:
        raise DocumentError(f"{len(lines)} conversations; at most {MOST_LINES} are read", where=where)
    found: list[tuple[Turns, str | None]] = []
    unusable: Counter[str] = Counter()
    secrets = 0
    for number, line in lines:
        at = f"{where}: line {number}"
        value = parse_json(line, where=at)
        messages = messages_in(value) if isinstance(value, dict) else None
        try:
            if messages is None and isinstance(value, dict) and is_response(value):
                raise _Unusable(_ALONE)
            if not messages:
                raise DocumentError("messages: not a list of at least one message", where=at)
            turns, answer = _conversation([_message(m, f"{at}: messages.{i}") for i, m in enumerate(messages)])
        except _Unusable as reason:
            unusable[str(reason)] += 1
            continue
        clean = [(turn.role, *redacted(turn.content)) for turn in turns]
        told, more = redacted(answer or "")
        secrets += more + sum(count for _, _, count in clean)
        found.append((tuple(Message(role, text) for role, text, _ in clean), told.strip() or None))
    return found, unusable, secrets


def _message(value: Any, where: str) -> Message | None:
    """A turn; None for one that is not all text (a call of a tool, a picture)."""
    if not isinstance(value, dict) or not isinstance(value.get("role"), str):
        raise DocumentError("not a message with a role", where=where)
    role = _ROLES.get(value["role"])
    if role is None:
        raise DocumentError(f"role: not one of {', '.join(_ROLES)}", where=where)
    content = value.get("content")
    if isinstance(content, list):
        parts = [part["text"] for part in content if _is_text(part)]
        content = "\n".join(parts) if len(parts) == len(content) else None
    if content is not None and not isinstance(content, str):
        raise DocumentError("content: neither text nor a list of parts", where=where)
    return None if content is None or value.get("tool_calls") else Message(role, content)


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _conversation(messages: Sequence[Message | None]) -> tuple[Turns, str | None]:
    """Up to the last user's turn, and what was answered to it; raises _Unusable."""
    said = [at for at, turn in enumerate(messages) if turn is not None and turn.role == "user" and turn.content.strip()]
    if not said:
        raise _Unusable("no text of a user's")
    turns = [turn for turn in messages[: said[-1] + 1] if turn is not None]
    if len(turns) != said[-1] + 1:
        raise _Unusable("calls of tools or parts that are no text before the last turn")
    if any(turn.role == "system" for turn in turns[1:]):
        raise _Unusable("a system prompt in the middle")
    if len(turns) > MAX_MESSAGES or sum(len(turn.content) for turn in turns) > MAX_PROMPT:
        raise _Unusable("longer than a case may be")
    after = messages[said[-1] + 1] if len(messages) > said[-1] + 1 else None
    answer = after.content if after is not None and after.role == "assistant" else None
    return tuple(turns), answer
