"""Evidence spoilt in every way, one observation at a time, under every policy that comes with the package: never a PASS."""

from datetime import UTC, datetime
from functools import cache

import pytest

from evaluation.evaluate_support import ARTIFACT, LOCK, SUITES, good_values
from peft_assay.core.digest import sha256
from peft_assay.core.observation import Observation, ObservationSet, ObservedBy, Status, failed, ok, sort_observations
from peft_assay.core.verdict import Outcome
from peft_assay.core.vocabulary import Kind, vocabulary
from peft_assay.evaluate.builtin import NAMES, builtin_policy
from peft_assay.evaluate.document import load_policy
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.evaluate.witness import passes, terms_of

BY = ObservedBy.SUPERVISOR
TERMS = vocabulary(SUITES)
EVALUATION = {"rights.commercial_use": False, "context.production": False, "context.maximum_age_hours": 336}
ADMITTED = {
    "default": {},
    "classifier": {},
    "strict": {
        f"suite.{suite}.{part}": value
        for suite in SUITES
        for part, value in {"lower": 0.97, "difference_lower": -0.01, "degenerate_upper": 0.0487}.items()
    },
    "internal-evaluation": EVALUATION,
    "research": EVALUATION,
}
"""What a policy asks beyond `good_values`."""


def smuggled(name, value):
    """An observation whose value its constructor would have refused, as another writer might have made it."""
    made = ok(name, 0.5, by=BY)
    object.__setattr__(made, "value", value)
    return made


WAYS = {
    "absent": lambda name: None,
    "failed": lambda name: failed(name, "the sandbox died", by=BY),
    "not applicable": lambda name: Observation(name, Status.NOT_APPLICABLE, None, BY, "there is none"),
    "not requested": lambda name: Observation(name, Status.NOT_REQUESTED, None, BY, "nothing is declared"),
    "null": lambda name: smuggled(name, None),
    "not a number": lambda name: smuggled(name, float("nan")),
    "infinite": lambda name: smuggled(name, float("inf")),
    "a text": lambda name: smuggled(name, "true"),
    "a number in a text": lambda name: smuggled(name, "0"),
    "a mapping": lambda name: smuggled(name, {"value": True}),
    "a list in a list": lambda name: smuggled(name, (("x",),)),
    "a huge integer": lambda name: smuggled(name, 1 << 80),
    "the other truth": lambda name: smuggled(name, 1 if TERMS[name].kind is Kind.BOOL else True),
}
SAYS_SOMETHING = {(Kind.STRING, "a text"), (Kind.STRING, "a number in a text")}
"""These are values of that kind."""


@cache
def compiled(name):
    return load_policy(builtin_policy(name), name, TERMS)


def needed(name):
    """Observations without which that policy has no answer for the admitted adapter."""
    values = good_values() | ADMITTED[name]
    rules = [
        rule
        for rule in compiled(name).rules
        if rule.guard is None or rule.guard.holds({term.name: values[term.name] for term in rule.guard.terms})
    ]
    return sorted({term.name for rule in rules for term in terms_of(rule.conditions)})


def verdict(name, values, spoilt=None):
    made = [ok(term, value, by=BY) for term, value in values.items()] + ([] if spoilt is None else [spoilt])
    seen = ObservationSet(ARTIFACT, sha256(b"c"), datetime(2026, 1, 1, tzinfo=UTC), sort_observations(made))
    return evaluate(compiled(name), seen, LOCK)


@pytest.mark.parametrize("name", NAMES)
def test_the_adapter_that_is_spoilt_would_be_admitted(name):
    assert verdict(name, good_values() | ADMITTED[name]).outcome is Outcome.PASS


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_spoilt_evidence_never_passes(name, way):
    values = good_values() | ADMITTED[name]
    tried = 0
    for term in needed(name):
        if (TERMS[term].kind, way) in SAYS_SOMETHING:
            continue
        rest = {other: value for other, value in values.items() if other != term}
        found = verdict(name, rest, WAYS[way](term))
        assert found.outcome is Outcome.INDETERMINATE, (term, way)
        assert any(term in result.explanation for result in found.results)
        tried += 1
    assert tried >= 15


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_that_applies_is_needed(name):
    values = good_values() | ADMITTED[name]
    for rule in compiled(name).rules:
        seen = {
            term.name: values[term.name]
            for term in terms_of(rule.conditions if rule.guard is None else (rule.guard, *rule.conditions))
        }
        assert passes(rule, seen) is True
