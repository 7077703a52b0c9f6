"""Twenty observations that the same seven clauses must decide alike in every expression engine, and the known traps.

The set is the one on which policy engines were compared; most of them admit at least one of these.
"""

from datetime import UTC, datetime
from typing import Any

import pytest

from evaluation.evaluate_support import ARTIFACT, good_values, judge, observed, policy_of, without
from peft_assay.core.digest import sha256
from peft_assay.core.observation import Observation, ObservationSet, ObservedBy, Status, ok, sort_observations
from peft_assay.core.verdict import Outcome

CLAUSES = (
    "assert: 'rights.licence in params.allow'",
    "assert: rights.datasets_commercial",
    "assert: 'suite.support_task.lower >= 0.95'",
    "assert: 'suite.refusals.base_rate - suite.refusals.rate <= 0.02 + 1e-9'",
    "assert: 'sandbox.level >= ISOLATION_NAMESPACE'",
    "assert: 'scan.tokens > 0 && weights.pickle_files.all(f, f == \"\")'",
    "assert: weights.canonical",
)
ALLOW = "{allow: [apache-2.0, mit, bsd-3-clause]}"
GOOD = good_values() | {
    "suite.support_task.lower": 0.957,
    "suite.refusals.base_rate": 0.98,
    "suite.refusals.rate": 0.97,
}
NAN = float("nan")


def smuggled(values: dict[str, Any], name: str, value: Any) -> ObservationSet:
    """An observation whose value its own constructor would have refused, as if another writer had made it."""
    bad = ok(name, 0.5, by=ObservedBy.CHILD)
    object.__setattr__(bad, "value", value)
    rest = [ok(n, v, by=ObservedBy.SUPERVISOR) for n, v in values.items() if n != name]
    return ObservationSet(ARTIFACT, sha256(b"c"), datetime(2026, 1, 1, tzinfo=UTC), sort_observations([*rest, bad]))


FIXTURES: dict[str, tuple[ObservationSet, Outcome]] = {
    "good": (observed(GOOD), Outcome.PASS),
    "bad licence": (observed(GOOD | {"rights.licence": "cc-by-nc-4.0"}), Outcome.FAIL),
    "non-commercial dataset": (observed(GOOD | {"rights.datasets_commercial": False}), Outcome.FAIL),
    "dataset unknown": (
        observed(without(GOOD, "rights.datasets_commercial"), {"rights.datasets_commercial": "not in the register"}),
        Outcome.INDETERMINATE,
    ),
    "datasets a list": (observed(GOOD | {"rights.datasets_commercial": ("yes",)}), Outcome.INDETERMINATE),
    "datasets an empty list": (observed(GOOD | {"rights.datasets_commercial": ()}), Outcome.INDETERMINATE),
    "datasets absent": (observed(without(GOOD, "rights.datasets_commercial")), Outcome.INDETERMINATE),
    "bound low": (observed(GOOD | {"suite.support_task.lower": 0.94}), Outcome.FAIL),
    "bound NaN": (smuggled(GOOD, "suite.support_task.lower", NAN), Outcome.INDETERMINATE),
    "bound infinite": (smuggled(GOOD, "suite.support_task.lower", float("inf")), Outcome.INDETERMINATE),
    "bound null": (smuggled(GOOD, "suite.support_task.lower", None), Outcome.INDETERMINATE),
    "bound a string": (observed(GOOD | {"suite.support_task.lower": "0.99"}), Outcome.INDETERMINATE),
    "bound a bool": (observed(GOOD | {"suite.support_task.lower": True}), Outcome.INDETERMINATE),
    "bound an integer 1": (observed(GOOD | {"suite.support_task.lower": 1}), Outcome.PASS),
    "suite missing": (
        observed({n: v for n, v in GOOD.items() if not n.startswith("suite.support_task.")}),
        Outcome.INDETERMINATE,
    ),
    "refusals drop": (observed(GOOD | {"suite.refusals.rate": 0.90}), Outcome.FAIL),
    "refusals missing": (observed(without(GOOD, "suite.refusals.rate")), Outcome.INDETERMINATE),
    "isolation low": (observed(GOOD | {"sandbox.level": 10}), Outcome.FAIL),
    "isolation a bool": (observed(GOOD | {"sandbox.level": True}), Outcome.INDETERMINATE),
    "isolation a huge integer": (smuggled(GOOD, "sandbox.level", 1 << 70), Outcome.INDETERMINATE),
    "bound a huge integer": (smuggled(GOOD, "suite.support_task.lower", 10**400), Outcome.INDETERMINATE),
    "pickle": (observed(GOOD | {"weights.pickle_files": ("adapter_model.bin",)}), Outcome.FAIL),
    "nothing scanned": (observed(GOOD | {"scan.tokens": 0}), Outcome.FAIL),
    "list with a non-string": (smuggled(GOOD, "weights.pickle_files", (1,)), Outcome.INDETERMINATE),
    "not canonical": (observed(GOOD | {"weights.canonical": False}), Outcome.FAIL),
    "canonical an integer": (observed(GOOD | {"weights.canonical": 1}), Outcome.INDETERMINATE),
    "licence not Unicode": (observed(GOOD | {"rights.licence": "\ud800"}), Outcome.INDETERMINATE),
    "list not Unicode": (observed(GOOD | {"weights.pickle_files": ("\udfff",)}), Outcome.INDETERMINATE),
    "empty": (observed({}), Outcome.INDETERMINATE),
}


@pytest.mark.parametrize("name", FIXTURES)
def test_decided_as_it_must_be(name: str) -> None:
    observations, outcome = FIXTURES[name]
    assert judge(policy_of(*CLAUSES, params=ALLOW), observations).outcome is outcome


def test_not_applicable_is_no_evidence() -> None:
    term = "rights.datasets_commercial"
    made = [ok(n, v, by=ObservedBy.SUPERVISOR) for n, v in without(GOOD, term).items()]
    made.append(Observation(term, Status.NOT_APPLICABLE, None, ObservedBy.INTAKE, "it has no card"))
    whole = ObservationSet(ARTIFACT, sha256(b"c"), datetime(2026, 1, 1, tzinfo=UTC), sort_observations(made))
    result = judge(policy_of(f"assert: {term}"), whole).results[0]
    assert result.outcome is Outcome.INDETERMINATE
    assert result.explanation == f"no usable observation: {term} (not applicable: it has no card)"


@pytest.mark.parametrize(
    "assertion",
    [
        "suite.support_task.lower > 3.0 || true",
        "true || suite.support_task.lower > 3.0",
        "!(suite.support_task.lower < 0.95)",
        "weights.canonical || suite.support_task.lower > 0.0",
        "weights.canonical ? true : suite.support_task.lower > 0.0",
        "[].all(x, suite.support_task.lower > 0.0)",
        "weights.canonical // even a comment needs suite.support_task.lower",
    ],
)
def test_an_expression_cannot_absorb_missing_evidence(assertion: str) -> None:
    policy = policy_of(f"assert: '{assertion}'")
    assert judge(policy, observed(GOOD | {"suite.support_task.lower": 0.99})).outcome is Outcome.PASS
    for bad in (
        observed(without(GOOD, "suite.support_task.lower")),
        smuggled(GOOD, "suite.support_task.lower", NAN),
        observed(GOOD | {"suite.support_task.lower": "0.99"}),
    ):
        assert judge(policy, bad).outcome is Outcome.INDETERMINATE


def test_a_quantifier_over_nothing_needs_its_list_to_have_been_observed() -> None:
    policy = policy_of("assert: 'weights.pickle_files.all(f, f.startsWith(\"x\"))'")
    assert judge(policy, observed(GOOD)).outcome is Outcome.PASS
    assert judge(policy, observed(without(GOOD, "weights.pickle_files"))).outcome is Outcome.INDETERMINATE


def test_what_cannot_be_computed_is_undecided() -> None:
    policy = policy_of("assert: '10 / sandbox.events > 1'")
    result = judge(policy, observed(GOOD)).results[0]
    assert result.outcome is Outcome.INDETERMINATE
    assert "10 / sandbox.events > 1 cannot be evaluated" in result.explanation
    assert "divide by zero" in result.explanation


def test_the_budget_of_the_expression_engine_ends_in_undecided() -> None:
    inner = "true"
    for name in "edcba":
        inner = f"weights.undeclared.all({name}, {inner})"
    policy = policy_of(f"assert: '{inner}'")
    values = GOOD | {"weights.undeclared": tuple(f"t{i}" for i in range(60))}
    result = judge(policy, observed(values)).results[0]
    assert result.outcome is Outcome.INDETERMINATE
    assert "budget" in result.explanation


def test_an_undecidable_suite_outweighs_a_failing_one() -> None:
    policy = policy_of("assert: '1 / suite.*.passes >= 0 && suite.*.lower > 0.9'")
    values = GOOD | {"suite.support_task.passes": 0}
    assert judge(policy, observed(values)).outcome is Outcome.INDETERMINATE


class TestGuards:
    POLICY = policy_of("assert: weights.canonical", "when: 'bounds.max_rank > 32', assert: 'sandbox.level >= 20'")

    def test_a_false_guard_passes_and_says_so(self) -> None:
        result = judge(self.POLICY, observed(GOOD | {"sandbox.level": 0})).results[1]
        assert result.outcome is Outcome.PASS
        assert result.explanation == "does not apply: not (bounds.max_rank > 32)"
        assert result.saw == {"bounds.max_rank": 8, "sandbox.level": 0}

    def test_a_true_guard_lets_the_assertion_decide(self) -> None:
        values = GOOD | {"bounds.max_rank": 64}
        assert judge(self.POLICY, observed(values)).outcome is Outcome.PASS
        result = judge(self.POLICY, observed(values | {"sandbox.level": 10})).results[1]
        assert result.outcome is Outcome.FAIL
        assert result.assertion == "when bounds.max_rank > 32: sandbox.level >= 20"

    def test_an_undetermined_guard_is_undetermined(self) -> None:
        assert judge(self.POLICY, observed(without(GOOD, "bounds.max_rank"))).outcome is Outcome.INDETERMINATE

    def test_a_guard_that_does_not_hold_needs_no_evidence_for_the_assertion(self) -> None:
        verdict = judge(self.POLICY, observed(without(GOOD, "sandbox.level")))
        assert verdict.outcome is Outcome.PASS
        assert verdict.results[1].saw["sandbox.level"] is None


class TestExplanations:
    def test_a_failure_names_the_suite_what_was_seen_and_the_limit(self) -> None:
        policy = policy_of("assert: 'suite.*.lower >= params.floor'", params="{floor: 0.7}")
        result = judge(policy, observed(GOOD | {"suite.lookups.lower": 0.312345})).results[0]
        assert result.explanation == (
            "because Saw suite.lookups.lower = 0.3123; needs suite.lookups.lower >= params.floor with params.floor = 0.7."
        )
        assert result.saw == {
            "suite.lookups.lower": 0.312345,
            "suite.refusals.lower": GOOD["suite.refusals.lower"],
            "suite.support_task.lower": 0.957,
        }

    def test_long_lists_are_cut_and_booleans_read_as_the_policy_writes_them(self) -> None:
        policy = policy_of("assert: 'size(weights.undeclared) == 0 && config.strict'")
        values = GOOD | {"weights.undeclared": tuple(f"t{i}" for i in range(7)), "config.strict": True}
        explanation = judge(policy, observed(values)).results[0].explanation
        assert "weights.undeclared = [t0, t1, t2, t3, t4, and 2 more]" in explanation
        assert "config.strict = true" in explanation

    def test_all_missing_evidence_is_named_at_once(self) -> None:
        policy = policy_of("assert: 'weights.canonical && config.strict && weights.nonfinite == 0'")
        unseen = dict.fromkeys(("config.strict", "weights.nonfinite"), "no such file")
        result = judge(policy, observed(without(GOOD, "weights.canonical", *unseen), unseen)).results[0]
        assert result.explanation == (
            "no usable observation: config.strict, weights.nonfinite (failed: no such file); weights.canonical (not observed)"
        )

    def test_missing_evidence_has_another_next_step_than_contrary_evidence(self) -> None:
        policy = policy_of("assert: weights.canonical, next: mend it, nextIfUnknown: look again")
        assert judge(policy, observed(GOOD | {"weights.canonical": False})).results[0].next_step == "mend it"
        assert judge(policy, observed(without(GOOD, "weights.canonical"))).results[0].next_step == "look again"

    def test_the_verdict_names_its_inputs(self) -> None:
        policy = policy_of("assert: weights.canonical")
        verdict = judge(policy, observed(GOOD))
        assert verdict.artifact == ARTIFACT
        assert verdict.policy == policy.policy.digest
        assert verdict.lock == sha256(b"lock")
