"""Lint, fixtures, scaffolds and explanations: what people do with a policy besides judging by it."""

import pytest
import yaml

from evaluation.evaluate_support import SUITES, default_policy, good_values, observed
from peft_assay.core.digest import sha256
from peft_assay.core.errors import DocumentError, UsageError
from peft_assay.core.verdict import Outcome
from peft_assay.core.vocabulary import vocabulary
from peft_assay.evaluate.builtin import NAMES, builtin_fixtures, builtin_policy
from peft_assay.evaluate.document import load_policy
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.evaluate.explanation import explain
from peft_assay.evaluate.fixtures import read_fixtures, run_fixtures
from peft_assay.evaluate.lint import ESSENTIALS, Weight, lint, needed_cases
from peft_assay.evaluate.scaffold import scaffold
from peft_assay.evaluate.witness import candidates, passes, truth, witness

LOCK = sha256(b"lock")


def policy(*rules, params=None, suites=("s",)):
    """A policy of assertions, or of (guard, assertion)."""
    written = [
        {"id": f"r{number}", "assert": rule, "why": "why"}
        if isinstance(rule, str)
        else {"id": f"r{number}", "when": rule[0], "assert": rule[1], "why": "why"}
        for number, rule in enumerate(rules)
    ]
    document = {"apiVersion": "peft-assay/v1", "kind": "Policy", "id": "p", "description": "d", "rules": written}
    text = yaml.safe_dump(document | ({} if params is None else {"params": params}))
    return load_policy(text.encode(), "p.yaml", vocabulary(suites))


def best(suite, n):
    """Perfect answers with a bound that approaches 1 as n grows."""
    values = {"n": n, "passes": n, "rate": 1.0, "lower": 1 - 1 / (n + 1), "upper": 1.0, "base_rate": 1.0}
    values |= {"difference": 0.0, "difference_lower": -1 / (n + 1), "complete": True, "degenerate_upper": 1 / (n + 1)}
    return {f"suite.{suite}.{name}": value for name, value in values.items()}


def codes(*rules, n=60, **more):
    return [f.code for f in lint(policy(*rules, **more), {"s": n}, best) if f.code != "essential-missing"]


# Lint


def test_the_default_policy_has_nothing_to_complain_of():
    assert lint(default_policy(), dict.fromkeys(SUITES, 60), best) == ()


def test_what_a_policy_never_speaks_of_is_named():
    found = lint(policy("weights.canonical"), {"s": 60}, best)
    missing = {name for name in ESSENTIALS if any(name in f.message for f in found)}
    assert missing == set(ESSENTIALS) - {"weights.canonical"}
    assert {(f.weight, f.rule) for f in found} == {(Weight.WARNING, None)}


def test_a_guarded_rule_does_not_count_as_speaking():
    found = lint(policy("config.strict", ("rights.commercial_use", "weights.canonical")), {"s": 60}, best)
    assert any("weights.canonical" in f.message for f in found)


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("weights.nonfinite >= 0 || weights.nonfinite < 0", "never-denies"),
        ("weights.nonfinite > 5 && weights.nonfinite < 3", "never-passes"),
        (("weights.nonfinite > 5 && weights.nonfinite < 3", "config.strict"), "never-applies"),
        ("weights.undeclared.all(n, n != 'lm_head')", "vacuous-all"),
        ("suite.s.lower >= 0.9999", "n-too-small"),
    ],
)
def test_a_useless_rule_is_named_with_a_next_step(rule, code):
    found = [f for f in lint(policy("config.strict", rule), {"s": 60}, best) if f.rule == "r1"]
    assert [f.code for f in found] == [code]
    assert found[0].message
    assert found[0].next_step


def test_how_many_cases_would_be_enough():
    (found,) = [f for f in lint(policy("suite.s.lower >= 0.99"), {"s": 60}, best) if f.code == "n-too-small"]
    assert "at least 99 cases" in found.message
    (never,) = [f for f in lint(policy("suite.s.lower >= 1.0"), {"s": 60}, best) if f.code == "n-too-small"]
    assert "no number of cases" in never.message
    assert never.next_step == "ask for less"


def test_what_each_condition_needs_is_the_least_n_that_satisfies_it():
    rules = ("suite.s.lower >= 0.95", "suite.s.lower >= 1.0", "suite.s.lower >= suite.t.lower", "weights.canonical")
    first, never = needed_cases(policy(*rules, suites=("s", "t")), {"s": 60, "t": 5}, best)
    assert (first.rule, first.suite, first.n, first.needed, first.enough) == ("r0", "s", 60, 19, True)
    assert (never.rule, never.needed, never.enough) == ("r1", None, False)


def test_a_list_that_must_not_be_empty_is_no_vacuous_truth():
    assert codes("size(rights.cleared) > 0 && rights.cleared.all(n, n == 'commercial')") == []


def test_behaviour_only_relative_to_the_base_is_a_warning():
    assert codes("suite.s.difference_lower >= -0.5") == ["only-relative"]
    assert codes("suite.s.difference_lower >= -0.5", "suite.s.lower > 0.5") == []


def test_a_rule_about_a_suite_and_something_else_is_not_judged_by_n():
    assert codes("suite.s.lower >= 0.9999 || config.strict") == []


# Witnesses


def test_candidates_lie_at_and_beside_every_constant():
    compiled = policy("weights.nonfinite < 7 && rights.licence != 'mit'", "effect.deterministic").rules
    terms = {term.name: term for rule in compiled for c in rule.conditions for term in c.terms}
    assert {6, 7, 8} <= set(candidates(terms["weights.nonfinite"], compiled[0].conditions))
    assert "mit" in candidates(terms["rights.licence"], compiled[0].conditions)
    assert candidates(terms["effect.deterministic"], compiled[1].conditions) == (True, False)


def test_parameters_are_constants_too():
    compiled = policy(
        "weights.nonfinite < params.most && rights.licence in params.allowed && rights.licence != params.not",
        params={"most": 12, "allowed": ["mit", "bsd"], "not": "gpl"},
    ).rules[0]
    terms = {term.name: term for c in compiled.conditions for term in c.terms}
    assert {11, 12, 13} <= set(candidates(terms["weights.nonfinite"], compiled.conditions))
    assert {"mit", "bsd", "gpl"} <= set(candidates(terms["rights.licence"], compiled.conditions))


def test_a_witness_is_what_it_says():
    rule = policy("suite.s.lower >= 0.7 && size(weights.undeclared) == 0").rules[0]
    for passing in (True, False):
        found = witness(rule, passing=passing)
        assert found is not None
        assert truth(rule.conditions, found) is passing


def test_what_has_no_truth_value_is_no_witness():
    rule = policy("1 / weights.nonfinite > 0").rules[0]
    assert truth(rule.conditions, {"weights.nonfinite": 0}) is None
    assert witness(rule, passing=True) == {"weights.nonfinite": 1}


def test_a_guard_decides_whether_a_rule_applies():
    rule = policy("config.strict", ("1 / weights.nonfinite > 0", "weights.canonical")).rules[1]
    assert passes(rule, {"weights.nonfinite": 0, "weights.canonical": False}) is None
    assert passes(rule, {"weights.nonfinite": -1, "weights.canonical": False}) is True
    assert passes(rule, {"weights.nonfinite": 1, "weights.canonical": False}) is False


def test_many_terms_are_searched_a_few_at_a_time():
    names = [f"suite.{s}.{part}" for s in ("a", "b") for part in ("lower", "upper", "rate", "base_rate")]
    rule = policy(" && ".join(f"{name} > 0.{i}1" for i, name in enumerate(names, 1)), suites=("a", "b")).rules[0]
    assert witness(rule, passing=True) is not None
    assert witness(rule, passing=False) is not None


def test_a_search_that_ends_without_a_witness_says_so():
    grants = [f"rights.grants.{name}" for name in ("commercial", "derivatives", "redistribution", "hosted")]
    effects = [f"effect.{name}" for name in ("deterministic", "base_unchanged", "differs_from_base")]
    licences = [f"rights.{name}_commercial" for name in ("licence", "datasets", "base_licence")]
    names = [*grants, *effects, *licences, "weights.canonical", "config.strict", "stack.observed_as_served"]
    rule = policy(" && ".join([*names, f"!{names[0]}"])).rules[0]
    assert witness(rule, passing=True) is None


# Fixtures


def fixtures(tests, base=None, suites=()):
    document = {"apiVersion": "peft-assay/v1", "kind": "PolicyTests", "suites": list(suites), "tests": tests}
    document["base"] = base if base is not None else {"config.strict": True, "weights.nonfinite": 0}
    return read_fixtures(yaml.safe_dump(document).encode(), "t.yaml")


TWO = ("config.strict", "weights.nonfinite == 0")


def test_outcome_and_denying_rules_must_be_exactly_as_written():
    trials = run_fixtures(
        policy(*TWO),
        fixtures(
            [
                {"name": "good", "expect": "PASS"},
                {"name": "loose", "set": {"config.strict": False}, "expect": "FAIL", "by": ["r0"]},
                {"name": "both", "set": {"config.strict": False}, "expect": "FAIL", "by": ["r0", "r1"]},
                {"name": "unseen", "unset": ["weights.nonfinite"], "expect": "INDETERMINATE", "by": ["r1"]},
            ]
        ),
    )
    assert [trial.holds for trial in trials.trials] == [True, True, False, True]
    assert not trials.hold
    assert trials.never_denying == ()
    assert (trials.dropped, trials.open_without, trials.base_denied) == (2, (), ())


def test_a_rule_that_no_test_shows_denying_is_named():
    trials = run_fixtures(policy(*TWO), fixtures([{"name": "good", "expect": "PASS"}]))
    assert trials.never_denying == ("r0", "r1")
    assert trials.hold


def test_a_base_that_is_denied_proves_nothing():
    trials = run_fixtures(
        policy(*TWO),
        fixtures([{"name": "x", "expect": "FAIL", "by": ["r0"]}], {"config.strict": False, "weights.nonfinite": 0}),
    )
    assert trials.base_denied == ("r0",)
    assert not trials.hold


def test_evidence_that_a_rule_does_not_need_is_told():
    """What `evaluate` never lets happen: shown with a verdict of its own making."""
    import peft_assay.evaluate.fixtures as module

    class Yes:
        outcome = Outcome.PASS
        results = tuple(type("R", (), {"rule": f"r{n}", "outcome": Outcome.PASS})() for n in range(2))

    real = module.judge
    try:
        module.judge = lambda policy, values: Yes
        trials = run_fixtures(policy(*TWO), fixtures([{"name": "good", "expect": "PASS"}]))
    finally:
        module.judge = real
    assert trials.open_without == ("r0: config.strict", "r1: weights.nonfinite")
    assert not trials.hold


@pytest.mark.parametrize(
    ("tests", "base", "said"),
    [
        ([{"name": "a", "expect": "PASS"}], {"config.strick": True}, "no such name"),
        ([{"name": "a", "expect": "PASS"}], {"config.strict": 1}, "not a bool"),
        ([{"name": "a", "expect": "PASS"}], {"weights.nonfinite": True}, "not a int"),
        ([{"name": "a", "expect": "PASS"}], {"delta.largest_norm": 10**400}, "not a double"),
        ([{"name": "a", "expect": "PASS"}], {"delta.largest_norm": float("nan")}, "not finite"),
        ([{"name": "a", "expect": "PASS"}], {"rights.licence": ["mit"]}, "not a string"),
        ([{"name": "a", "expect": "PASS"}], {"weights.undeclared": [1]}, "not a string_list"),
        ([{"name": "a", "expect": "PASS", "unset": ["plan.unmet"]}], {"config.strict": True}, "base does not have it"),
        ([{"name": "a", "expect": "PASS", "by": ["r0"]}], {"config.strict": True}, "PASS names no rule"),
        ([{"name": "a", "expect": "FAIL"}], {"config.strict": True}, "name every rule"),
        (
            [{"name": "a", "expect": "PASS"}, {"name": "a", "expect": "PASS"}],
            {"config.strict": True},
            "two are called 'a'",
        ),
    ],
)
def test_a_fixture_with_a_mistake_is_refused_by_its_place(tests, base, said):
    with pytest.raises(DocumentError) as refused:
        fixtures(tests, base)
    assert said.replace("string_list", "").strip() in str(refused.value)


def test_whole_numbers_may_stand_for_fractions_and_lists_are_lists():
    base = {"delta.largest_norm": 2, "rights.licence": "mit", "weights.undeclared": ["a"], "weights.nonfinite": 0}
    assert fixtures([{"name": "a", "expect": "PASS"}], base).base == {
        "delta.largest_norm": 2.0,
        "rights.licence": "mit",
        "weights.undeclared": ("a",),
        "weights.nonfinite": 0,
    }


def test_a_rule_that_the_policy_does_not_have_is_refused():
    with pytest.raises(DocumentError, match="no rule r9"):
        run_fixtures(policy(*TWO), fixtures([{"name": "x", "expect": "FAIL", "by": ["r9"]}]))


# Policies that come with the package, and first sets of fixtures


@pytest.mark.parametrize("name", NAMES)
def test_built_in_policies_hold_their_fixtures_and_lint_clean(name):
    read = read_fixtures(builtin_fixtures(name), name)
    compiled = load_policy(builtin_policy(name), name, vocabulary(read.suites))
    trials = run_fixtures(compiled, read)
    assert [t.fixture.name for t in trials.trials if not t.holds] == []
    assert trials.hold
    assert trials.never_denying == ()
    assert [f for f in lint(compiled, dict.fromkeys(read.suites, 60), best) if f.weight is Weight.ERROR] == []


def test_there_are_no_fixtures_of_an_unknown_policy():
    with pytest.raises(UsageError, match="no built-in policy"):
        builtin_fixtures("lenient")


def test_a_scaffold_holds_and_shows_every_rule_denying():
    written = scaffold(default_policy(), SUITES)
    trials = run_fixtures(default_policy(), read_fixtures(written.encode(), "new.yaml"))
    assert trials.hold
    assert trials.never_denying == ()


def test_a_scaffold_changes_earlier_values_where_two_rules_share_one():
    shared = policy("weights.nonfinite < 9", "weights.nonfinite > 3", "weights.nonfinite != 4")
    trials = run_fixtures(shared, read_fixtures(scaffold(shared, ("s",)).encode(), "new.yaml"))
    assert trials.hold
    assert trials.base_denied == ()


def test_rules_that_contradict_each_other_have_no_scaffold():
    with pytest.raises(DocumentError, match="up to r1"):
        scaffold(policy("config.strict", "!config.strict"), ())


def test_a_rule_that_one_value_cannot_break_has_no_test_of_its_own():
    joint = policy("config.strict", "weights.nonfinite == 0 || weights.canonical")
    tests = yaml.safe_load(scaffold(joint, ()))["tests"]
    assert [test["name"].split(":")[0] for test in tests] == ["an ordinary adapter is admitted", "r0"]


# Explanations


def explained(compiled, values, unseen=None):
    seen = observed(values, unseen)
    return explain(compiled, seen, evaluate(compiled, seen, LOCK))


def test_the_nearest_change_of_one_observation_is_named():
    (rule,) = explained(
        policy("suite.s.lower >= 0.7 && suite.s.complete"), {"suite.s.lower": 0.31, "suite.s.complete": True}
    )
    assert [(c.term, c.saw, c.needs) for c in rule.changes] == [("suite.s.lower", 0.31, 0.7)]
    assert not rule.together


def test_a_passing_rule_needs_no_change():
    (rule,) = explained(policy("config.strict"), {"config.strict": True})
    assert (rule.changes, rule.missing) == ((), {})


def test_missing_evidence_says_why():
    compiled = policy("config.strict", "weights.canonical", "weights.nonfinite == 0")
    rules = explained(compiled, {"weights.nonfinite": "none"}, {"weights.canonical": "the file is cut off"})
    assert [dict(rule.missing) for rule in rules] == [
        {"config.strict": "not observed"},
        {"weights.canonical": "the file is cut off"},
        {"weights.nonfinite": "observed as str, which the vocabulary does not allow"},
    ]


def test_changes_that_only_suffice_together():
    compiled = policy("config.strict && weights.canonical && weights.nonfinite < 5")
    (rule,) = explained(compiled, {"config.strict": False, "weights.canonical": False, "weights.nonfinite": 2})
    assert rule.together
    assert {(c.term, c.needs) for c in rule.changes} == {("config.strict", True), ("weights.canonical", True)}


def test_where_nothing_was_found_nothing_is_claimed():
    compiled = policy("weights.nonfinite > 5 && weights.nonfinite < 3")
    (rule,) = explained(compiled, {"weights.nonfinite": 0})
    assert (rule.changes, rule.together) == ((), False)


def test_every_failing_rule_of_the_default_policy_is_explained_by_changes_that_make_it_pass():
    compiled = default_policy()
    bad = good_values() | {"weights.canonical": False, "suite.lookups.lower": 0.2, "scan.triggers": ("zq",)}
    for rule, by in zip(explained(compiled, bad), compiled.rules, strict=True):
        if rule.result.outcome is Outcome.FAIL:
            saw = {name: value for name, value in rule.result.saw.items() if value is not None}
            assert rule.changes
            assert all(passes(by, {**saw, change.term: change.needs}) for change in rule.changes)
