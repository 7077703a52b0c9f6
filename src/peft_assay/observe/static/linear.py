"""Regular expressions in linear time, whoever wrote them: google-re2, told not to print hostile text on errors."""

from typing import Any

import re2

error = re2.error


def compile_linear(pattern: str) -> Any:
    """`pattern` compiled; raises `error` for what re2 does not accept (look-around, back-references, too large)."""
    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)


def compile_bytes(pattern: str) -> Any:
    """The same for bytes of any encoding."""
    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(pattern.encode(), options)
