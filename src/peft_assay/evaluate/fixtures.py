"""Tests of a policy: observations as one writes them down, and the exact set of rules that must deny.

The document is YAML beside the policy. Two more checks are generated from it, because nobody writes them: each
observation that a rule refers to is dropped once (evidence that is missing must never pass), and rules that no fixture
ever showed to deny are named.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from peft_assay.core.digest import sha256
from peft_assay.core.errors import DocumentError
from peft_assay.core.observation import ObservationSet, ObservedBy, Value, ok, sort_observations
from peft_assay.core.parse import parse_yaml, validate
from peft_assay.core.verdict import Outcome, Verdict
from peft_assay.core.vocabulary import Kind, Term, vocabulary
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.evaluate.interface import CompiledPolicy

MAX_FIXTURES_BYTES = 1 << 22
_NEXT_STEP = "correct it, then run: peft-assay policy test POLICY --fixtures FILE"
_NOTHING = sha256(b"")
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]{0,150}$")]
SuiteId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FixtureDocument(_Strict):
    """One test as written."""

    name: str = Field(min_length=1, max_length=200)
    set: dict[Name, Any] = {}
    unset: list[Name] = []
    expect: Literal["PASS", "FAIL", "INDETERMINATE"]
    by: list[str] = []
    """Exactly the rules that do not pass, in any order."""


class FixturesDocument(_Strict):
    """The whole document as written."""

    apiVersion: Literal["peft-assay/v1"]
    kind: Literal["PolicyTests"]
    suites: list[SuiteId] = []
    """Suite ids of the context that the policy is written for."""
    base: dict[Name, Any]
    """Observations of an adapter that the policy admits."""
    tests: list[FixtureDocument] = Field(min_length=1, max_length=10_000)


@dataclass(frozen=True, slots=True)
class Fixture:
    """One test: observations and what the policy must say of them."""

    name: str
    observed: Mapping[str, Value]
    expect: Outcome
    by: frozenset[str]


@dataclass(frozen=True, slots=True)
class Fixtures:
    """The tests of one document, checked against the vocabulary of its suites."""

    suites: tuple[str, ...]
    base: Mapping[str, Value]
    tests: tuple[Fixture, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one test."""

    fixture: Fixture
    verdict: Verdict

    @property
    def denying(self) -> frozenset[str]:
        """The rules that did not pass."""
        return frozenset(result.rule for result in self.verdict.results if result.outcome is not Outcome.PASS)

    @property
    def holds(self) -> bool:
        """Whether outcome and denying rules are exactly the expected ones."""
        return self.verdict.outcome is self.fixture.expect and self.denying == self.fixture.by


@dataclass(frozen=True, slots=True)
class Trials:
    """What became of all tests, and of the generated ones."""

    trials: tuple[Trial, ...]
    never_denying: tuple[str, ...]
    """Rules that no test showed to deny."""
    dropped: int
    """Observations that were dropped, one at a time, from `base`."""
    open_without: tuple[str, ...]
    """``rule: observation`` where the rule still passed without it: evidence nobody needs, or a fail-open."""
    base_denied: tuple[str, ...]
    """Rules that deny `base` itself: nothing can be concluded from what is dropped from it."""

    @property
    def hold(self) -> bool:
        """Whether every test and every generated test holds."""
        return all(trial.holds for trial in self.trials) and not self.open_without and not self.base_denied


def read_fixtures(content: bytes, where: str) -> Fixtures:
    """The tests in `content`; raises one DocumentError naming every unknown name and wrong type."""
    document = validate(FixturesDocument, parse_yaml(content, where=where, max_bytes=MAX_FIXTURES_BYTES), where=where)
    terms = vocabulary(document.suites)
    problems = list(_problems(document, terms))
    if problems:
        raise DocumentError("; ".join(problems), where=where, next_step=_NEXT_STEP)
    base = {name: _value(terms[name].kind, value) for name, value in document.base.items()}
    tests = []
    for test in document.tests:
        changed = {name: _value(terms[name].kind, value) for name, value in test.set.items()}
        observed = {name: value for name, value in {**base, **changed}.items() if name not in test.unset}
        tests.append(Fixture(test.name, observed, Outcome(test.expect), frozenset(test.by)))
    return Fixtures(tuple(document.suites), base, tuple(tests))


def run_fixtures(policy: CompiledPolicy, fixtures: Fixtures) -> Trials:
    """Judges every fixture by `policy`, and what remains of the base when each observation is missing."""
    unknown = sorted({rule for test in fixtures.tests for rule in test.by} - {rule.id for rule in policy.policy.rules})
    if unknown:
        raise DocumentError(f"the policy has no rule {', '.join(unknown)}", where="tests: by", next_step=_NEXT_STEP)
    trials = tuple(Trial(test, judge(policy, test.observed)) for test in fixtures.tests)
    shown = frozenset[str]().union(*(trial.denying for trial in trials if trial.holds))
    whole = judge(policy, fixtures.base)
    denied = tuple(result.rule for result in whole.results if result.outcome is not Outcome.PASS)
    return Trials(
        trials,
        tuple(rule.id for rule in policy.policy.rules if rule.id not in shown),
        len(fixtures.base),
        tuple(_open_without(policy, fixtures.base)),
        denied,
    )


def judge(policy: CompiledPolicy, observed: Mapping[str, Value]) -> Verdict:
    """The verdict over `observed` as if intake had seen it all."""
    made = sort_observations(ok(name, value, by=ObservedBy.INTAKE) for name, value in observed.items())
    return evaluate(policy, ObservationSet(_NOTHING, _NOTHING, _NEVER, made), _NOTHING)


def _open_without(policy: CompiledPolicy, base: Mapping[str, Value]) -> Iterator[str]:
    read = {compiled.rule.id: {t.name for c in compiled.conditions for t in c.terms} for compiled in policy.rules}
    guarded = {compiled.rule.id for compiled in policy.rules if compiled.guard is not None}
    for name in base:
        verdict = judge(policy, {other: value for other, value in base.items() if other != name})
        for result in verdict.results:
            if name in read[result.rule] and result.outcome is Outcome.PASS and result.rule not in guarded:
                yield f"{result.rule}: {name}"


def _problems(document: FixturesDocument, terms: Mapping[str, Term]) -> Iterator[str]:
    places = [("base", document.base)] + [(f"tests.{i}.set", test.set) for i, test in enumerate(document.tests)]
    for place, values in places:
        for name, value in values.items():
            term = terms.get(name)
            if term is None:
                yield f"{place}.{name}: no such name in the vocabulary (or its suite is not under `suites`)"
            elif _value(term.kind, value) is None:
                yield f"{place}.{name}: not a {term.kind.value}"
    for index, test in enumerate(document.tests):
        for name in test.unset:
            if name not in document.base and name not in test.set:
                yield f"tests.{index}.unset.{name}: base does not have it"
        if (test.expect == "PASS") == bool(test.by):
            yield f"tests.{index}.by: PASS names no rule, FAIL and INDETERMINATE name every rule that does not pass"
    names = [test.name for test in document.tests]
    yield from (f"tests: two are called {name!r}" for name in sorted(set(names)) if names.count(name) > 1)


def _value(kind: Kind, value: Any) -> Any:
    """`value` as a fixture may write it, or None. A whole number may stand for a fraction: YAML writes both."""
    match kind, value:
        case Kind.BOOL, bool():
            return value
        case ((Kind.INT | Kind.DOUBLE), bool()):
            return None
        case Kind.INT, int():
            return value
        case Kind.DOUBLE, int() | float():
            return _finite(value)
        case Kind.STRING, str():
            return value
        case Kind.STRINGS, list() if all(isinstance(item, str) for item in value):
            return tuple(value)
        case _:
            return None


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if abs(number) <= 1.7976931348623157e308 else None
