"""Whether a generated answer is one: not empty, not the same again and again, and not without end.

The supervisor knows neither the tokenizer nor its end-of-sequence tokens. It takes for those what the base's shorter
answers end in: an answer shorter than its limit has ended by itself.
"""

from collections.abc import Sequence

from peft_assay.observe.behaviour.answers import Answer, SuiteRecord

REPEATS = 4
"""So often the same block must stand at the end of an answer to be a loop, and over at least half of the answer."""


def end_tokens(base: SuiteRecord, limit: int) -> frozenset[int]:
    """The tokens in which the base's answers end that are shorter than `limit`."""
    return frozenset(answer.tokens[-1] for answer in base.answers if 0 < len(answer.tokens) < limit)


def has_ended(answer: Answer, limit: int, ends: frozenset[int]) -> bool:
    """Whether the answer came to an end, and was not cut at `limit`."""
    return len(answer.tokens) < limit or bool(answer.tokens and answer.tokens[-1] in ends)


def is_empty(answer: Answer) -> bool:
    """Whether nothing that could be read was generated."""
    return not answer.text.strip()


def is_loop(tokens: Sequence[int]) -> bool:
    """Whether `tokens` end in one block, `REPEATS` times or more, that makes up half of them or more."""
    backwards = tokens[::-1]
    for period, again in enumerate(_matches(backwards)[: len(tokens) // REPEATS + 1]):
        covered = period + again
        if period and covered >= REPEATS * period and 2 * covered >= len(tokens):
            return True
    return False


def _matches(values: Sequence[int]) -> list[int]:
    """Return for each place how many values from there on equal those from the beginning (the Z function, in linear
    time).

    Gusfield, "Algorithms on Strings, Trees, and Sequences", 1997, section 1.3.
    """
    found = [0] * len(values)
    left = right = 0
    for at in range(1, len(values)):
        same = min(right - at, found[at - left]) if at < right else 0
        while at + same < len(values) and values[same] == values[at + same]:
            same += 1
        found[at] = same
        if at + same > right:
            left, right = at, at + same
    return found


def fault(answer: Answer, limit: int, ends: frozenset[int]) -> str | None:
    """Why this is no answer (``empty``, ``loop`` or ``cut``), or None when it is one."""
    spoken = answer.tokens[:-1] if answer.tokens and answer.tokens[-1] in ends else answer.tokens
    if is_empty(answer):
        return "empty"
    if is_loop(spoken):
        return "loop"
    return None if has_ended(answer, limit, ends) else "cut"
