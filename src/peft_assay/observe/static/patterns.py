"""config.unsafe_patterns: regular expressions in the configuration that can hold whoever matches them.

PEFT matches `target_modules` and its like, where they are text, and the keys of `rank_pattern` and `alpha_pattern`
with Python's backtracking engine against every module of the base: ``(a+)+$`` takes more than half a minute for one
name. Unsafe is here: a repetition without limit inside another, a choice inside a repetition without limit, more than
`MAX_REPETITIONS` of them, or what re2 (linear time) does not accept, look-around and back-references for instance.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static import linear
from peft_assay.observe.static.bounds import MAX_TEXT
from peft_assay.observe.static.reading import Configuration, read_configuration

MAX_REPETITIONS = 8
MAX_REPEAT = 1_000
"""Repetitions with a limit above this count as without."""
_TEXTS = ("target_modules", "exclude_modules", "layers_pattern", "modules_to_save", "target_parameters")
_KEYED = ("rank_pattern", "alpha_pattern")
_SHORTHANDS = frozenset({"all-linear"})
_SHOWN = 80


def expressions(configuration: Configuration) -> Iterator[tuple[str, str]]:
    """Every expression with the field it stands in. Lists hold names, not expressions, but for `layers_pattern`.

    Raises Unreadable for a `layers_pattern` that is neither text nor a list of texts.
    """
    for name in _TEXTS:
        value = configuration.get(name)
        listed = configuration.names(name) if name == "layers_pattern" else ()
        yield from ((name, text) for text in ([value] if isinstance(value, str) else listed) if text not in _SHORTHANDS)
    for name in _KEYED:
        yield from ((f"{name} key", key) for key in configuration.mapping(name))


def why_unsafe(pattern: str) -> str | None:
    """Why matching `pattern` may take more than linear time; None where it does not."""
    if len(pattern) > MAX_TEXT:
        return f"longer than {MAX_TEXT} characters"
    try:
        linear.compile_linear(pattern)
    except linear.error:
        return "not an expression that takes linear time"
    try:
        tree: Any = re._parser.parse(pattern)  # type: ignore[attr-defined] # noqa: SLF001 - re's own reading of it
    except (re.error, RecursionError, OverflowError):
        return "Python cannot read it"
    problem, count = _walk(tree, inside=False)
    if problem is None and count > MAX_REPETITIONS:
        return f"{count} repetitions without limit"
    return problem


def _walk(tree: Any, *, inside: bool) -> tuple[str | None, int]:
    """The first problem of a parse tree, and how many repetitions without limit it has."""
    total = 0
    for operation, argument in tree:
        kind, repeats = str(operation), False
        if inside and kind == "BRANCH":
            return "a choice inside a repetition without limit", total
        if kind in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
            repeats = int(argument[1]) > MAX_REPEAT
            if repeats and inside:
                return "a repetition without limit inside another", total
            total += repeats
        for child in _children(kind, argument):
            problem, count = _walk(child, inside=inside or repeats)
            total += count
            if problem is not None:
                return problem, total
    return None, total


def _children(kind: str, argument: Any) -> list[Any]:
    match kind:
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return [argument[2]]
        case "SUBPATTERN":
            return [argument[3]]
        case "BRANCH":
            return list(argument[1])
        case "ATOMIC_GROUP":
            return [argument]
        case "ASSERT" | "ASSERT_NOT":
            return [argument[1]]
    return []


class PatternsProbe:
    """config.unsafe_patterns."""

    id = "patterns"
    version = "1"
    terms = ("config.unsafe_patterns",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable when the configuration has not one reading."""
        found = (
            f"{field}: {text[:_SHOWN]}: {why}"
            for field, text in expressions(read_configuration(subject))
            if (why := why_unsafe(text)) is not None
        )
        yield ok(self.terms[0], tuple(found), by=ObservedBy.INTAKE)
