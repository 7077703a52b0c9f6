"""Laws that hold for any observations: monotonic, deterministic, independent of order."""

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.evaluate_support import (
    VOCABULARY,
    default_policy,
    good_values,
    judge,
    observed,
    policy_of,
    without,
)
from peft_assay.core.canonical import MAX_EXACT_INTEGER
from peft_assay.core.verdict import Outcome
from peft_assay.core.vocabulary import Kind
from peft_assay.evaluate.document import load_policy
from peft_assay.evaluate.evaluate import evaluate

POLICIES = (
    default_policy(),
    # Written to be as permissive as the language allows: negations, alternatives, quantifiers, guards.
    policy_of(
        "assert: '!(suite.support_task.lower < 0.5) || !weights.canonical'",
        "assert: 'weights.undeclared.all(t, t != \"x\") || sandbox.events == 0'",
        "when: '!config.strict', assert: 'size(config.redirects) == 0'",
        "when: 'sandbox.events > 0', assert: '10 / sandbox.events > 2'",
        "assert: 'suite.*.rate >= 0.1 || suite.lookups.complete'",
    ),
)
WILD: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.BOOL: st.booleans(),
    Kind.INT: st.integers(-1, 3) | st.integers(-MAX_EXACT_INTEGER, MAX_EXACT_INTEGER),
    Kind.DOUBLE: st.floats(-1, 1) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-1, 1),
    Kind.STRING: st.text(max_size=4),
    Kind.STRINGS: st.lists(st.text(max_size=4), max_size=3).map(tuple),
}
ANY = st.one_of(*WILD.values())
NAMES = sorted(VOCABULARY)


@st.composite
def observations(draw: st.DrawFn) -> dict[str, Any]:
    """Good values, some of them replaced by values of their type, fewer by values of any type, some left out."""
    values = good_values()
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=6)):
        values[name] = draw(WILD[VOCABULARY[name].kind])
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=2)):
        values[name] = draw(ANY)
    return without(values, *draw(st.lists(st.sampled_from(NAMES), max_size=3)))


@settings(max_examples=150, deadline=None)
@given(values=observations(), removed=st.sets(st.sampled_from(NAMES), min_size=1, max_size=8), which=st.data())
def test_taking_evidence_away_never_admits(values: dict[str, Any], removed: set[str], which: st.DataObject) -> None:
    policy = which.draw(st.sampled_from(POLICIES))
    before = judge(policy, observed(values))
    less = without(values, *removed)
    for after in (
        judge(policy, observed(less)),
        judge(policy, observed(less, dict.fromkeys(removed, "it could not be observed"))),
    ):
        assert before.outcome is Outcome.PASS or after.outcome is not Outcome.PASS
        # And it holds for each rule, not only for the whole.
        for one, other in zip(before.results, after.results, strict=True):
            assert one.outcome is Outcome.PASS or other.outcome is not Outcome.PASS


@settings(max_examples=60, deadline=None)
@given(values=observations(), seed=st.integers(0, 1000))
def test_the_same_observations_give_the_same_verdict_in_any_order(values: dict[str, Any], seed: int) -> None:
    names = list(values)
    random.Random(seed).shuffle(names)
    shuffled = {name: values[name] for name in names}
    for policy in POLICIES:
        assert judge(policy, observed(values)) == judge(policy, observed(shuffled))


@settings(max_examples=60, deadline=None)
@given(values=observations())
def test_a_rule_passes_only_on_usable_evidence_or_a_guard(values: dict[str, Any]) -> None:
    for policy in POLICIES:
        for result in judge(policy, observed(values)).results:
            if result.outcome is Outcome.PASS and not result.explanation:
                assert None not in result.saw.values()
            if result.outcome is not Outcome.PASS:
                assert result.explanation


@settings(max_examples=100, deadline=None)
@given(values=st.dictionaries(st.sampled_from(NAMES), ANY, max_size=40))
def test_nothing_observed_raises(values: dict[str, Any]) -> None:
    for policy in POLICIES:
        judge(policy, observed(values))


@settings(max_examples=40, deadline=None)
@given(extra=st.dictionaries(st.from_regex(r"[a-z]{1,8}\.[a-z]{1,8}", fullmatch=True), ANY, max_size=4))
def test_observations_the_policy_does_not_name_change_nothing(extra: dict[str, Any]) -> None:
    foreign = {name: value for name, value in extra.items() if name not in VOCABULARY}
    plain, more = observed(good_values()), observed(good_values() | foreign)
    for policy in POLICIES:
        assert judge(policy, plain) == judge(policy, more)


def test_a_stored_policy_decides_again_as_it_decided() -> None:
    from evaluation.evaluate_support import LOCK
    from peft_assay.evaluate.builtin import builtin_policy

    content = builtin_policy("default")
    first, second = (load_policy(content, where, VOCABULARY) for where in ("a.yaml", "b.yaml"))
    observations_ = observed(good_values() | {"scan.triggers": ("zq001",)})
    assert evaluate(first, observations_, LOCK) == evaluate(second, observations_, LOCK)
