"""Patterns that suites bring: RE2 alone, so that nobody's expression takes more than linear time."""

from collections.abc import Sequence
from typing import Any

import re2

from peft_assay.core.errors import DocumentError

MAX_PATTERN = 1_000
"""Characters; RE2 is linear in the text, and its memory is bounded by the pattern."""


def compile_pattern(pattern: str, *, where: str) -> Any:
    """`pattern` compiled by RE2 (linear time, bounded memory); raises DocumentError."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise DocumentError(f"not a pattern that RE2 accepts: {reason}", where=where) from None


def compile_patterns(patterns: Sequence[str], *, where: str) -> list[Any]:
    """Each of `patterns`; an error names its number in the list."""
    return [compile_pattern(pattern, where=f"{where}.{number}") for number, pattern in enumerate(patterns)]
