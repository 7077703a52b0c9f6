"""Waivers over verdicts: a law for any observations and waivers, and what the closed list means for the policies here."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.evaluate_support import (
    ARTIFACT,
    SUITES,
    default_policy,
    good_values,
    judge,
    observed,
    policy_of,
    without,
)
from evaluation.test_laws import NAMES, POLICIES, observations
from peft_assay.core.digest import sha256
from peft_assay.core.verdict import Outcome, RuleResult
from peft_assay.core.vocabulary import vocabulary
from peft_assay.core.waiver import Protected, Waiver
from peft_assay.evaluate.builtin import NAMES as BUILTIN
from peft_assay.evaluate.builtin import builtin_policy
from peft_assay.evaluate.document import load_policy
from peft_assay.evaluate.interface import CompiledPolicy, CompiledRule
from peft_assay.evaluate.waive import protection, rule_digest, waive

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HERE = sha256(b"here")
WAIVABLE = {
    "default": {
        "conditional",
        "bounds",
        "strength",
        "reach", "withdrawn",
        "dependencies",
        "attempts",
        "task",
        "sampling",
        "trigger-scan",
        "scan-ids",
        "refusals",
        "rights-known",
        "rights-conflicts",
    },
    "classifier": {
        "conditional", "bounds", "strength", "reach", "withdrawn", "dependencies", "attempts", "task", "trigger-scan", "scan-ids", "rights-known", "rights-conflicts",
    },
    "strict": {
        "nothing-beside", "conditional", "bounds", "strength", "reach", "withdrawn", "dependencies", "attempts", "task", "sampling", "trigger-scan", "scan-ids", "refusals",
        "rights-known", "pinned", "coherent", "rights-conflicts",
    },
    "research": {
        "conditional", "bounds", "strength", "reach", "withdrawn", "dependencies", "attempts", "task", "sampling", "trigger-scan", "scan-ids", "refusals", "rights-conflicts",
    },
    "internal-evaluation": {
        "conditional", "bounds", "strength", "reach", "withdrawn", "dependencies", "attempts", "task", "sampling", "trigger-scan", "scan-ids", "refusals", "rights-conflicts",
    },
}  # fmt: skip
"""Rules of the policies that come with the package that an approver may waive: read by eye, golden."""


def waivers_of(policy: CompiledPolicy, values: dict[str, Any], **changes: Any) -> list[Waiver]:
    """For each rule a waiver of what it sees of `values`, as an approver would have been given it."""
    results = judge(policy, observed(values)).results
    return [_waiver(*pair, changes) for pair in zip(policy.rules, results, strict=True)]


def _waiver(rule: CompiledRule, result: RuleResult, changes: dict[str, Any]) -> Waiver:
    given = {
        "artifact": ARTIFACT, "rule": result.rule, "rule_digest": rule_digest(rule), "circumstances": HERE,
        "saw": {name: value for name, value in result.saw.items() if value is not None}, "by": "b", "reason": "r",
        "at": NOW - timedelta(days=1), "expires": NOW + timedelta(days=1), "keyid": "k", "envelope": sha256(b"w"),
    }  # fmt: skip
    return Waiver(**{**given, **changes})


def judged(policy: CompiledPolicy, values: dict[str, Any], *waivers: Waiver, unseen: Any = None) -> Any:
    return waive(policy, judge(policy, observed(values, unseen)), waivers, circumstances=HERE, now=NOW)


@settings(max_examples=100, deadline=None)
@given(
    accepted=observations(),
    values=observations(),
    same=st.booleans(),
    removed=st.sets(st.sampled_from(NAMES), min_size=1, max_size=8),
    which=st.data(),
)
def test_taking_evidence_away_never_admits_whatever_is_waived(
    accepted: dict[str, Any], values: dict[str, Any], same: bool, removed: set[str], which: st.DataObject
) -> None:
    """Waivers for anything that any set of observations could show, most often for exactly these."""
    policy = which.draw(st.sampled_from(POLICIES))
    waivers = waivers_of(policy, values if same else accepted)
    before = judged(policy, values, *waivers)
    less = without(values, *removed)
    for after in (
        judged(policy, less, *waivers),
        judged(policy, less, *waivers, unseen=dict.fromkeys(removed, "lost")),
    ):
        assert before.outcome is Outcome.PASS or after.outcome is not Outcome.PASS
        for one, other in zip(before.results, after.results, strict=True):
            good = (Outcome.PASS, Outcome.WAIVED)
            assert one.outcome in good or other.outcome not in good


@settings(max_examples=30, deadline=None)
@given(values=observations(), seed=st.permutations(range(3)))
def test_the_order_of_waivers_is_nobody_s_choice(values: dict[str, Any], seed: list[int]) -> None:
    for policy in POLICIES:
        made = [
            waiver
            for number in seed
            for waiver in waivers_of(
                policy, values, envelope=sha256(bytes([number])), expires=NOW + timedelta(days=number + 1)
            )
        ]
        found = judged(policy, values, *made)
        assert found == judged(policy, values, *reversed(made))
        assert {result.waiver for result in found.waived} <= {sha256(bytes([2]))}, "the longest counts"


@settings(max_examples=40, deadline=None)
@given(values=observations())
def test_a_waived_verdict_differs_from_the_plain_one_in_waivable_failures_only(values: dict[str, Any]) -> None:
    for policy in POLICIES:
        plain = judge(policy, observed(values))
        found = judged(policy, values, *waivers_of(policy, values))
        for rule, before, after in zip(policy.rules, plain.results, found.results, strict=True):
            may = before.outcome is Outcome.FAIL and protection(rule) is None
            assert (after.outcome is Outcome.WAIVED) == may
            assert may or before == after


@pytest.mark.parametrize("name", BUILTIN)
def test_what_may_be_waived_under_the_policies_of_the_package(name: str) -> None:
    policy = load_policy(builtin_policy(name), name, vocabulary(SUITES))
    found = {rule.rule.id for rule in policy.rules if protection(rule) is None}
    assert found == WAIVABLE[name]
    assert not found & {
        "pickle",
        "header",
        "config",
        "non-finite",
        "undeclared-tensors",
        "isolation",
        "events",
        "rights",
    }
    if name in {"internal-evaluation", "research"}:
        held = {rule.rule.id: protection(rule) for rule in policy.rules}
        context = {rule for rule, why in held.items() if why is not None and why[1] is Protected.CONTEXT}
        assert context, "that it is valid nowhere else cannot be waived away"


def test_a_term_nobody_classified_is_not_waivable(monkeypatch: pytest.MonkeyPatch) -> None:
    from peft_assay.core import waiver

    policy = policy_of("assert: 'size(artifact.companions) == 0'")
    assert protection(policy.rules[0]) is None
    monkeypatch.setattr(waiver, "WAIVABLE", waiver.WAIVABLE - {"artifact.companions"})
    assert protection(policy.rules[0]) == ("artifact.companions", None)


def test_several_failing_rules_need_several_waivers() -> None:
    policy = default_policy()
    values = good_values() | {"reach.full_weights": ("score",), "scan.triggers": ("zq001",)}
    ids = [rule.rule.id for rule in policy.rules]
    reach, scan = (waivers_of(policy, values)[ids.index(rule)] for rule in ("reach", "trigger-scan"))
    assert judged(policy, values, reach).outcome is Outcome.FAIL
    both = judged(policy, values, reach, scan)
    assert both.outcome is Outcome.PASS
    assert [result.rule for result in both.waived] == ["reach", "trigger-scan"]
    assert both.deciding is None
    indeterminate = judged(policy, without(values, "weights.canonical"), reach, scan)
    assert indeterminate.outcome is Outcome.INDETERMINATE
    assert both.digest != judge(policy, observed(good_values())).digest
