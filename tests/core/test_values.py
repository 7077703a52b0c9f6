"""Invariants of the nouns: errors and their doors, observations, verdicts, policies, locks, the vocabulary."""

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peft_assay.core import errors
from peft_assay.core.canonical import canonical_digest
from peft_assay.core.context import LOCK_VERSION, Lock
from peft_assay.core.digest import sha256
from peft_assay.core.errors import DOOR_MEANINGS, DOOR_PRECEDENCE, AssayError, Door, first_door
from peft_assay.core.observation import Observation, ObservationSet, ObservedBy, Status, failed, ok, sort_observations
from peft_assay.core.policy import Policy, Rule
from peft_assay.core.verdict import OUTCOME_DOORS, Outcome, RuleResult, Verdict
from peft_assay.core.vocabulary import STATIC_TERMS, suite_terms, vocabulary

D = sha256(b"")
AT = datetime(2026, 1, 1, tzinfo=UTC)
BY = ObservedBy.SUPERVISOR


def test_the_exit_codes_are_the_documented_ones():
    assert {int(door): door.name for door in Door} == {
        0: "PASSED", 1: "BUG", 2: "USAGE", 3: "REFUSED", 4: "UNOBSERVED", 10: "FAILED", 11: "TRUST", 12: "DENIED",
        13: "INDETERMINATE", 74: "STORAGE", 130: "INTERRUPTED",
    }  # fmt: skip
    assert set(DOOR_MEANINGS) == set(Door)


def test_precedence_is_the_documented_order():
    assert [int(door) for door in DOOR_PRECEDENCE] == [1, 74, 130, 11, 3, 4, 10, 12, 13]


def test_nothing_examined_never_passes():
    assert first_door([]) is Door.USAGE
    assert first_door(iter(())) is Door.USAGE


@given(st.lists(st.sampled_from(Door), min_size=1))
def test_one_door_stands_for_all_whatever_their_order_or_number(doors):
    found = first_door(doors)
    assert found in doors
    assert found is first_door(reversed(doors)) is first_door(doors * 2)
    assert (found is Door.PASSED) == (set(doors) == {Door.PASSED})


@pytest.mark.parametrize(("first", "second"), list(itertools.pairwise(DOOR_PRECEDENCE)))
def test_the_earlier_door_wins(first, second):
    assert first_door([Door.PASSED, second, first]) is first


def test_each_error_has_its_own_door_and_says_where():
    doors = {
        name: getattr(errors, name).door
        for name in (
            "UsageError",
            "DocumentError",
            "IntakeError",
            "ObservationError",
            "TrustError",
            "ActivationDenied",
            "StorageError",
        )
    }
    assert [int(door) for door in doors.values()] == [2, 2, 3, 4, 11, 12, 74]
    error = errors.IntakeError("escapes", where="a.tar", next_step="repack it")
    assert (str(error), error.next_step) == ("a.tar: escapes", "repack it")
    assert str(AssayError("x")) == "x"
    denied = errors.ActivationDenied("it has ended", check="times", next_step="peft-assay certify lora")
    assert str(denied) == "[times] it has ended; next: peft-assay certify lora"
    assert str(errors.ActivationDenied("is altered", check="bytes", where="x.bin")) == "[bytes] x.bin: is altered"
    assert AssayError("x").door is Door.BUG
    assert errors.ActivationDenied("no", check="bytes").check == "bytes"


@pytest.mark.parametrize("status", [Status.FAILED, Status.NOT_APPLICABLE])
def test_exactly_an_ok_observation_carries_a_value(status):
    with pytest.raises(ValueError, match="exactly an ok observation carries a value"):
        Observation("a", status, 1, BY)
    with pytest.raises(ValueError, match="exactly an ok observation carries a value"):
        Observation("a", Status.OK, None, BY)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_was_not_measured(value):
    with pytest.raises(ValueError, match="not finite"):
        ok("a", value, by=BY)


@pytest.mark.parametrize("value", [False, 0, 0.0, "", ()])
def test_falsy_values_are_values(value):
    assert ok("a", value, by=BY).value == value


def test_an_observation_document_is_plain_json():
    assert ok("a", ("x", "y"), by=BY, reason="r", evidence=D).document() == {
        "name": "a", "status": "ok", "value": ["x", "y"], "observedBy": "supervisor", "reason": "r", "evidence": D,
    }  # fmt: skip
    assert failed("a", "why", by=BY).document()["value"] is None
    canonical_digest(failed("a", "why", by=BY).document())


def test_a_set_holds_each_name_once_in_order():
    a, b = ok("a", 1, by=BY), ok("b", 2, by=BY)
    for wrong in ((b, a), (a, a)):
        with pytest.raises(ValueError, match="each name once"):
            ObservationSet(D, D, AT, wrong)
    with pytest.raises(ValueError, match="a: observed twice"):
        sort_observations([a, b, failed("a", "?", by=BY)])
    seen = ObservationSet(D, D, AT, sort_observations([b, a]))
    assert seen.get("b") is b
    assert seen.get("c") is None


def verdict(*outcomes):
    results = tuple(RuleResult(f"r{i}", outcome, "", "", {}, "") for i, outcome in enumerate(outcomes))
    return Verdict(D, D, D, results)


RULE_OUTCOMES = st.sampled_from([Outcome.PASS, Outcome.FAIL, Outcome.INDETERMINATE])


@given(st.lists(RULE_OUTCOMES, min_size=1, max_size=8))
def test_fail_over_indeterminate_over_pass_and_the_first_decides(outcomes):
    judged = verdict(*outcomes)
    expected = next((o for o in (Outcome.FAIL, Outcome.INDETERMINATE) if o in outcomes), Outcome.PASS)
    assert judged.outcome is expected
    if expected is Outcome.PASS:
        assert judged.deciding is None
    else:
        assert judged.deciding.rule == f"r{outcomes.index(expected)}"


def test_a_verdict_over_nothing_is_none():
    with pytest.raises(ValueError, match="no rules"):
        Verdict(D, D, D, ())


def test_no_security_value_can_be_taken_for_a_truth_value_by_accident():
    for kind in (Verdict, RuleResult, Observation, ObservationSet, Outcome):
        assert "__bool__" not in vars(kind)


def test_only_pass_has_the_door_zero():
    assert {outcome: int(door) for outcome, door in OUTCOME_DOORS.items()} == {
        Outcome.PASS: 0, Outcome.FAIL: 10, Outcome.INDETERMINATE: 13, Outcome.REFUSED: 3, Outcome.WITHHELD: 12,
    }  # fmt: skip


def test_a_policy_has_rules_each_once():
    rule = Rule("a", "true", "", "")
    for rules in ((), (rule, rule)):
        with pytest.raises(ValueError, match="at least one rule, each id once"):
            Policy("p", D, rules)


def test_a_lock_is_versioned_and_its_conditions_have_a_digest_of_their_own():
    document = {"apiVersion": LOCK_VERSION, "conditions": {"base": "x"}, "policy": 1}
    lock = Lock(document)
    edited = Lock({**document, "policy": 2})
    assert lock.digest == canonical_digest(document) != edited.digest
    assert lock.conditions == edited.conditions != Lock({**document, "conditions": {"base": "y"}}).conditions
    for broken in ({}, {"apiVersion": "peft-assay/lock/v0", "conditions": {}}, {"apiVersion": LOCK_VERSION}):
        with pytest.raises(ValueError, match="a lock has apiVersion"):
            Lock(broken)


def test_the_vocabulary_has_each_name_once_and_says_what_it_means():
    names = [term.name for term in STATIC_TERMS]
    assert len(names) == len(set(names))
    terms = vocabulary(["task", "refusals"])
    assert len(terms) == len(names) + 2 * len(suite_terms("task"))
    assert terms["suite.task.lower"].name == "suite.task.lower"
    assert all(term.meaning and term.name == name for name, term in terms.items())


@pytest.mark.parametrize("value", [2**53, -(2**53), 10**30])
def test_a_number_that_cannot_be_signed_exactly_is_no_observation(value):
    with pytest.raises(ValueError, match="signed exactly"):
        Observation("bounds.max_rank", Status.OK, value, ObservedBy.INTAKE)
