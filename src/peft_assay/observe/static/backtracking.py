"""Count the most steps that Python's backtracking `re` can take before it gives up on one text.

Backtracking tries every way in which the parts of an expression can share a text out among them. The ways are counted
here by position, which takes polynomial time even where there are more of them than any computer could try: for each
part, how many ways lead to each place of the text. The characters that a part accepts count, so `.*layers.*q_proj` is
cheap and `.*.*.*.*x` is expensive. Look-around is counted as if it always let the match go on. Back-references are not
counted.
"""

import re
import warnings
from collections.abc import Callable, Iterable
from typing import Any

MAX_COUNTING = 100_000
"""Steps of the counting itself, for one expression and one text."""
MAX_COUNTING_IN_ALL = 3_000_000
"""Steps of the counting for all expressions of one configuration: some seconds."""
LOOKING = frozenset({"ASSERT", "ASSERT_NOT"})
_SINGLE = {"LITERAL", "NOT_LITERAL", "ANY", "IN"}
_REPEATS = {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}
_CATEGORIES: dict[str, Callable[[str], bool]] = {
    "CATEGORY_DIGIT": str.isdigit,
    "CATEGORY_SPACE": str.isspace,
    "CATEGORY_WORD": lambda character: character.isalnum() or character == "_",
}
Ways = dict[int, float]
"""Place in the text to the number of ways that lead there."""


class Endless(Exception):
    """There are too many ways to count, or more than any matcher should try."""


class Budget:
    """The budget of the counting itself, over several expressions."""

    def __init__(self) -> None:
        self.left = MAX_COUNTING_IN_ALL

    @property
    def spent(self) -> bool:
        return self.left < 0


def steps(tree: Any, text: str, most: float, budget: Budget) -> float:
    """Return the number of steps that matching the parsed expression `tree` against all of `text` takes.

    Raises Endless over `most`, and where counting them takes too much.
    """
    counter = Counting(text, most)
    try:
        counter.sequence(tree, {0: 1.0})
    finally:
        budget.left -= counter.counted
    if budget.spent:
        raise Endless("with those before it, too many ways to count")
    return counter.steps


class Counting:
    """Counts the ways of one expression through one text."""

    def __init__(self, text: str, most: float) -> None:
        self.steps, self.counted = 0.0, 0
        self._text, self._most = text, most
        self._taken: dict[tuple[int, str], bool] = {}

    def sequence(self, tree: Iterable[Any], ways: Ways) -> Ways:
        for operation, argument in tree:
            if not ways:
                break
            ways = self._node(str(operation), argument, ways)
        return ways

    def _node(self, kind: str, argument: Any, ways: Ways) -> Ways:
        self._spend(ways)
        if kind in _SINGLE:
            return {at + 1: n for at, n in ways.items() if at < len(self._text) and self._takes(kind, argument, at)}
        if kind in _REPEATS:
            return self._repeated(int(argument[0]), int(argument[1]), argument[2], ways)
        if kind == "SUBPATTERN":
            return self.sequence(argument[3], ways)
        if kind == "ATOMIC_GROUP":
            return self.sequence(argument, ways)
        if kind == "BRANCH":
            return _sum(self.sequence(branch, ways) for branch in argument[1])
        if kind in LOOKING:
            return self._looked(argument[0], argument[1], ways)
        if kind == "AT":
            return self._at(str(argument), ways)
        raise Endless(f"{kind.lower()} is not counted")

    def _looked(self, direction: int, body: Any, ways: Ways) -> Ways:
        """Count the steps of looking ahead or behind from each place; all ways go on, as if the look succeeded."""
        back = body.getwidth()[0] if direction < 0 else 0
        self.sequence(body, {at - back: n for at, n in ways.items() if at >= back})
        return ways

    def _at(self, place: str, ways: Ways) -> Ways:
        if place in {"AT_BEGINNING", "AT_BEGINNING_STRING"}:
            return {at: n for at, n in ways.items() if at == 0}
        if place in {"AT_END", "AT_END_STRING"}:
            return {at: n for at, n in ways.items() if at == len(self._text)}
        return ways

    def _repeated(self, least: int, most: int, body: Any, ways: Ways) -> Ways:
        if len(body) == 1 and str(body[0][0]) in _SINGLE and least <= 1 and most > len(self._text):
            return self._run(least, str(body[0][0]), body[0][1], ways)
        found: Ways = dict(ways) if least == 0 else {}
        current = ways
        for turn in range(1, min(most, least + len(self._text)) + 1):
            if turn > least and body.getwidth()[0] == 0:  # a repetition that matched no character is not tried again
                current = _sum(self._further(body, at, n) for at, n in current.items())
            else:
                current = self.sequence(body, current)
            if not current:
                break
            if turn >= least:
                found = _sum([found, current])
        return found

    def _further(self, body: Any, at: int, number: float) -> Ways:
        return {end: n for end, n in self.sequence(body, {at: number}).items() if end > at}

    def _run(self, least: int, kind: str, argument: Any, ways: Ways) -> Ways:
        """Advance over as many characters as there are, one by one: a way can end at each of them."""
        found: Ways = {}
        running = 0.0
        for at in range(min(ways), len(self._text) + 1):
            running += ways.get(at, 0.0) if least == 0 else 0.0
            if running:
                found[at] = running
            if at == len(self._text):
                break
            takes = self._takes(kind, argument, at)
            started = ways.get(at, 0.0) if least else 0.0
            running = running + started if takes else 0.0
        self._spend(found)
        return found

    def _takes(self, kind: str, argument: Any, at: int) -> bool:
        """Whether a part of one character may take that at `at`, in either case: `(?i)` may stand anywhere."""
        character = self._text[at]
        if kind == "ANY":
            return True
        key = (id(argument) if kind == "IN" else ~argument if kind == "NOT_LITERAL" else argument << 64, character)
        if key not in self._taken:
            spelt = {character, character.lower(), character.upper()}
            self._taken[key] = any(_matches(kind, argument, one) for one in spelt)
        return self._taken[key]

    def _spend(self, ways: Ways) -> None:
        self.steps += sum(ways.values())
        self.counted += len(ways)
        if self.steps > self._most:
            raise Endless("more ways to share a module's name out among its parts than can be tried")
        if self.counted > MAX_COUNTING:
            raise Endless("too large to count the ways in which it matches")


def _sum(parts: Iterable[Ways]) -> Ways:
    found: Ways = {}
    for ways in parts:
        for at, n in ways.items():
            found[at] = found.get(at, 0.0) + n
    return found


def _matches(kind: str, argument: Any, character: str) -> bool:
    if kind in {"LITERAL", "NOT_LITERAL"}:
        return (character == chr(argument)) is (kind == "LITERAL")
    negated = False
    for operation, value in argument:
        match str(operation):
            case "NEGATE":
                negated = True
            case "LITERAL" if character == chr(value):
                return not negated
            case "RANGE" if chr(value[0]) <= character <= chr(value[1]):
                return not negated
            case "CATEGORY" if _of_category(str(value), character):
                return not negated
    return negated


def _of_category(name: str, character: str) -> bool:
    known = _CATEGORIES.get(name.replace("_NOT_", "_"))
    return known is not None and known(character) is ("_NOT_" not in name)


def parsed(pattern: str) -> Any:
    """Return Python's own parse of `pattern`; raises Endless for a pattern that it cannot parse."""
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # a later Python may parse it otherwise
            return re._parser.parse(pattern)  # type: ignore[attr-defined] # noqa: SLF001 - re's own reading of it
    except (re.error, RecursionError, OverflowError):
        raise Endless("Python cannot read it") from None
