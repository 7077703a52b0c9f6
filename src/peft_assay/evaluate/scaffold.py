"""A first set of fixtures for a policy: an adapter that it admits, and for each rule one thing that makes it deny.

What comes out is meant to be read and corrected: the values are the plainest that decide the rule either way.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from peft_assay.core.errors import DocumentError
from peft_assay.core.observation import Value
from peft_assay.core.verdict import Outcome
from peft_assay.evaluate.fixtures import judge
from peft_assay.evaluate.interface import CompiledPolicy, CompiledRule, Condition
from peft_assay.evaluate.witness import assignments, candidates, conditions_of, passes, terms_of, truth

_HEADER = """\
# Fixtures of a policy: peft-assay policy test POLICY --fixtures THIS
# `base` is what an adapter looks like that the policy admits. Each test changes it and names exactly the rules that
# then do not pass. Written by `peft-assay policy test --new`; the values are examples: make them those you mean.
"""


def scaffold(policy: CompiledPolicy, suites: Sequence[str]) -> str:
    """Fixtures for `policy`, as YAML. Raises DocumentError when no admitted adapter was found."""
    base = admitted(policy)
    tests: list[dict[str, Any]] = [{"name": "an ordinary adapter is admitted", "expect": "PASS"}]
    for rule in policy.rules:
        tests.extend(_tests_of(policy, rule, base))
    document: dict[str, Any] = {"apiVersion": "peft-assay/v1", "kind": "PolicyTests", "suites": list(suites)}
    document |= {"base": {name: _plain(value) for name, value in base.items()}, "tests": tests}
    return _HEADER + yaml.safe_dump(document, sort_keys=False, width=110, allow_unicode=True)


def admitted(policy: CompiledPolicy) -> Mapping[str, Value]:
    """Observations that pass every rule; raises DocumentError when the search finds none."""
    conditions = tuple(condition for rule in policy.rules for condition in conditions_of(rule))
    values: dict[str, Value] = {}
    for number, rule in enumerate(policy.rules):
        values = _extended(policy.rules[: number + 1], rule, conditions, values)
    return {name: values[name] for name in sorted(values)}


def _extended(
    rules: Sequence[CompiledRule], rule: CompiledRule, conditions: Sequence[Condition], values: Mapping[str, Value]
) -> dict[str, Value]:
    """`values` so changed that `rule` passes too: by adding first, by changing earlier values where that must be."""
    terms = terms_of(conditions_of(rule))
    new = [term for term in terms if term.name not in values]
    for trial in (*_kept(new, conditions), *assignments(terms, conditions)):
        attempt = {**values, **trial}
        if all(passes(earlier, attempt) for earlier in rules):
            return attempt
    raise DocumentError(
        f"no observations were found that pass the rules up to {rule.rule.id}",
        where=f"rule {rule.rule.id}",
        next_step="run peft-assay policy lint; where the rules do fit together, write the fixtures by hand",
    )


def _kept(new: Sequence[Any], conditions: Sequence[Condition]) -> Iterator[Mapping[str, Value]]:
    if new:
        yield from assignments(new, conditions)
    else:
        yield {}


def _tests_of(policy: CompiledPolicy, rule: CompiledRule, base: Mapping[str, Value]) -> Iterable[dict[str, Any]]:
    """One fixture in which `rule` denies, with as few other rules denying as possible."""
    found: tuple[int, dict[str, Any]] | None = None
    for changed in _changes(rule, base):
        verdict = judge(policy, {**base, **changed})
        by = [result.rule for result in verdict.results if result.outcome is not Outcome.PASS]
        if rule.rule.id in by and (found is None or len(by) < found[0]):
            name = ", ".join(f"{term} is {_shown(value)}" for term, value in changed.items())
            test = {"name": f"{rule.rule.id}: {name}", "set": {term: _plain(value) for term, value in changed.items()}}
            found = len(by), {**test, "expect": verdict.outcome.value, "by": by}
    if found is not None:
        yield found[1]


def _changes(rule: CompiledRule, base: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    """One value of the assertion changed, and of the guard what makes it apply."""
    guard = () if rule.guard is None else (rule.guard,)
    applies = [values for values in assignments(terms_of(guard), guard) if truth(guard, values)] if guard else [{}]
    for term in terms_of(rule.conditions):
        for value in candidates(term, conditions_of(rule)):
            for values in applies:
                needed = {name: other for name, other in values.items() if base.get(name) != other}
                yield {**needed, term.name: value}


def _plain(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _shown(value: Value) -> str:
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else str(value).lower()
