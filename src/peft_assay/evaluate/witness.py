"""Values that make a condition true or false: what lint, generated tests and explanations are made of.

Conditions compare observations with constants, so values at and beside every constant that a policy mentions reach
both sides of every comparison. The search is bounded and deterministic; it proves that a witness exists and never that
none does, and whoever reports its silence says so.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from peft_assay.core.observation import Value
from peft_assay.core.vocabulary import Kind, Term
from peft_assay.evaluate.interface import CompiledRule, Condition, Undecidable

MAX_TRIALS = 4096
"""Assignments tried for one rule."""

_QUOTED = re.compile(r"\"([^\"\\\n]{1,200})\"|'([^'\\\n]{1,200})'")
_NUMBER = re.compile(r"(?<![\w.])\d{1,15}(?:\.\d{1,15})?(?:[eE][+-]?\d{1,2})?")
_INT64 = range(-(1 << 63), 1 << 63)
_STEP = 1e-6


def conditions_of(rule: CompiledRule) -> tuple[Condition, ...]:
    """Everything that `rule` evaluates: its guard first."""
    return rule.conditions if rule.guard is None else (rule.guard, *rule.conditions)


def terms_of(conditions: Iterable[Condition]) -> tuple[Term, ...]:
    """The terms of `conditions`, each once, by name."""
    found = {term.name: term for condition in conditions for term in condition.terms}
    return tuple(found[name] for name in sorted(found))


def candidates(term: Term, conditions: Iterable[Condition]) -> tuple[Value, ...]:
    """Values worth trying for `term`: at and beside every constant of `conditions`, plainest first."""
    conditions = tuple(conditions)
    match term.kind:
        case Kind.BOOL:
            return (True, False)
        case Kind.INT:
            near = [int(n) + step for n in _numbers(conditions) if abs(n) < 1 << 62 for step in (0, 1, -1)]
            return tuple(dict.fromkeys(n for n in (0, 1, *near, -1) if n in _INT64))
        case Kind.DOUBLE:
            beside = [n + step for n in _numbers(conditions) for step in (0.0, _STEP, -_STEP)]
            return tuple(dict.fromkeys((1.0, 0.0, *beside, -1.0)))
        case Kind.STRING:
            return tuple(dict.fromkeys(("x", "", *_texts(conditions))))
        case _:  # Kind.STRINGS
            texts = tuple(_texts(conditions))
            return tuple(dict.fromkeys(((), ("x",), *((text,) for text in texts), texts)))


def truth(conditions: Iterable[Condition], values: Mapping[str, Value]) -> bool | None:
    """Whether all of `conditions` hold for `values`; None when one has no truth value."""
    try:
        # A list: every condition is evaluated before any is believed, as `evaluate` does.
        return all([condition.holds(values) for condition in conditions])  # noqa: C419
    except Undecidable:
        return None


def passes(rule: CompiledRule, values: Mapping[str, Value]) -> bool | None:
    """Whether `rule` passes for `values`, guard included; None when that is undecidable."""
    if rule.guard is not None:
        applies = truth((rule.guard,), values)
        if applies is not True:
            return None if applies is None else True
    return truth(rule.conditions, values)


def witness(rule: CompiledRule, *, passing: bool) -> Mapping[str, Value] | None:
    """Values for the terms of `rule` under which it passes, or denies; None when none was found.

    A rule with a guard is shown passing with the guard true: that it does not apply proves nothing about it.
    """
    every = conditions_of(rule)
    for values in assignments(terms_of(every), every):
        applies = rule.guard is None or truth((rule.guard,), values)
        if applies and truth(rule.conditions, values) is passing:
            return values
    return None


def assignments(terms: Sequence[Term], conditions: Sequence[Condition]) -> Iterator[Mapping[str, Value]]:
    """Assignments to `terms`, plainest first: all of them where these are few, else one and two terms at a time."""
    choices = [candidates(term, conditions) for term in terms]
    names = [term.name for term in terms]
    if math.prod(map(len, choices)) <= MAX_TRIALS:
        yield from (dict(zip(names, picked, strict=True)) for picked in itertools.product(*choices))
        return
    yield from itertools.islice(_by_few(names, choices), MAX_TRIALS)


def _by_few(names: Sequence[str], choices: Sequence[tuple[Value, ...]]) -> Iterator[Mapping[str, Value]]:
    widest = max(map(len, choices))
    levels = [{name: c[level % len(c)] for name, c in zip(names, choices, strict=True)} for level in range(widest)]
    yield from levels
    indexes = range(len(names))
    for changed in itertools.chain(itertools.combinations(indexes, 1), itertools.combinations(indexes, 2)):
        for level in levels:
            for picked in itertools.product(*(choices[index] for index in changed)):
                yield {**level, **{names[index]: value for index, value in zip(changed, picked, strict=True)}}


def _numbers(conditions: Iterable[Condition]) -> Iterator[float]:
    """Constants of `conditions` and their negatives, parameters included."""
    for condition in conditions:
        fixed = (v for v in condition.fixed.values() if isinstance(v, int | float) and not isinstance(v, bool))
        for number in (*fixed, *map(float, _NUMBER.findall(_QUOTED.sub("", condition.text)))):
            yield from (number, -number)


def _texts(conditions: Iterable[Condition]) -> Iterator[str]:
    """Texts that `conditions` compare with, parameters included."""
    for condition in conditions:
        for double, single in _QUOTED.findall(condition.text):
            yield double or single
        for value in condition.fixed.values():
            if isinstance(value, str):
                yield value
            elif isinstance(value, tuple):
                yield from value
