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
    for period in range(1, len(tokens) // REPEATS + 1):
        covered = period
        while covered < len(tokens) and tokens[-1 - covered] == tokens[-1 - covered + period]:
            covered += 1
        if covered >= REPEATS * period and 2 * covered >= len(tokens):
            return True
    return False


def fault(answer: Answer, limit: int, ends: frozenset[int]) -> str | None:
    """Why this is no answer (``empty``, ``loop`` or ``cut``), or None when it is one."""
    spoken = answer.tokens[:-1] if answer.tokens and answer.tokens[-1] in ends else answer.tokens
    if is_empty(answer):
        return "empty"
    if is_loop(spoken):
        return "loop"
    return None if has_ended(answer, limit, ends) else "cut"
