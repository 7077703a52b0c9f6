"""A policy that could not mean what its author thinks does not load, and the error says where and why."""

import pytest

from evaluation.evaluate_support import SUITES, VOCABULARY, document, policy_of
from peft_assay.core.errors import DocumentError
from peft_assay.core.policy import Policy, Rule
from peft_assay.core.vocabulary import vocabulary
from peft_assay.evaluate.document import load_policy
from peft_assay.evaluate.expression import compile_condition
from peft_assay.evaluate.interface import CompiledPolicy, CompiledRule


def problem(*rules: str, params: str = "{}", suites: tuple[str, ...] = SUITES) -> str:
    with pytest.raises(DocumentError) as caught:
        load_policy(document(*rules, params=params), "p.yaml", vocabulary(suites))
    assert caught.value.where == "p.yaml"
    return caught.value.message


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("assert: 'suite.support_taks.lower >= 0.9'", "there is no name 'suite.support_taks.lower'"),
        ("assert: 'suite.support_task.lowr >= 0.9'", "(nearest: suite.support_task.lower)"),
        ("assert: 'qqqqqqqq'", "there is no name 'qqqqqqqq'"),
        ("assert: 'rights.licence > 3'", "found no matching overload"),
        ("assert: 'suite.support_task.lower >= 1'", "a fraction keeps its decimal point: write 1.0, not 1"),
        ("assert: 'suite.support_task.lower >= \"0.95\"'", "found no matching overload"),
        ("assert: 'rights.licence'", "gives STRING, not a boolean"),
        ("assert: 'dyn(weights.canonical)'", "gives DYN, not a boolean"),
        ("assert: 'sandbox.level'", "gives INT, not a boolean"),
        ("assert: 'true'", "refers to no observation"),
        ("assert: '1 == 1 || ISOLATION_VM > 3'", "refers to no observation"),
        ("assert: 'weights.canonical &&'", "Syntax error"),
        ("assert: 'weights.canonical) || (true'", "Syntax error"),
        ("assert: 'nosuch(weights.canonical)'", "there is no name 'nosuch'"),
        ("assert: 'ISOLATION_MOON > sandbox.level'", "there is no name 'ISOLATION_MOON'"),
        ("assert: 'params.floor < suite.support_task.lower'", "there is no name 'params.floor'"),
        # Spellings that the search for names does not see must not compile, or their absence could be absorbed.
        ("assert: 'weights.canonical || suite . support_task . lower > 0.5'", "there is no name"),
        ("assert: 'weights.canonical || .suite.support_task.lower > 0.5'", "there is no name"),
        ("assert: 'weights.canonical || suite[\"support_task\"].lower > 0.5'", "there is no name"),
        ('assert: "\\uD800"', "not UTF-8"),
    ],
)
def test_an_expression_that_cannot_be_trusted_does_not_load(rule: str, says: str) -> None:
    if says == "not UTF-8":
        with pytest.raises(DocumentError):
            load_policy(document(rule), "p.yaml", VOCABULARY)
        return
    message = problem("assert: weights.canonical", rule)
    assert message.startswith("rules.1.assert: ")
    assert says in message
    assert message.endswith("(rule r1)")


def test_every_problem_is_named_at_once() -> None:
    message = problem("assert: 'nope'", "assert: weights.canonical, when: 'rights.licence'", params="{floor: 0.5}")
    assert "rules.0.assert: line 1, column 1: there is no name 'nope'" in message
    assert "rules.1.when: gives STRING, not a boolean (rule r1)" in message
    assert "params.floor: no rule reads it" in message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ((b"apiVersion: peft-assay/v1", b"apiVersion: peft-assay/v2"), "apiVersion: must be 'peft-assay/v1'"),
        ((b"kind: Policy", b"kind: Suite"), "kind: must be 'Policy'"),
        ((b"id: p\n", b""), "id: is missing"),
        ((b"description: d\n", b"description: d\nmode: warn\n"), "mode: is not known here"),
        ((b"why: because", b"why: because, severity: review"), "rules.0.severity: is not known here"),
        ((b"why: because, ", b""), "rules.0.why: is missing"),
        ((b"assert: weights.canonical", b"assert: true"), "rules.0.assert: must be text"),
        ((b"assert: weights.canonical", b"assert: ''"), "rules.0.assert: is empty"),
        ((b"id: r0", b"id: R 0"), "rules.0.id: must match"),
        ((b"params: {}", b"params: {floor: true}"), "params.floor"),
        ((b"params: {}", b"params: {floor: .nan}"), "a number is not finite"),
        ((b"params: {}", b"params: {floor: null}"), "params.floor"),
        ((b"params: {}", b"params: {Floor: 0.5}"), "params.Floor"),
        ((b"params: {}", b"params: {}\nparams: {}"), "appears twice"),
    ],
)
def test_the_document_is_closed(change: tuple[bytes, bytes], says: str) -> None:
    content = document("assert: weights.canonical")
    assert change[0] in content
    with pytest.raises(DocumentError) as caught:
        load_policy(content.replace(*change), "p.yaml", VOCABULARY)
    assert says in caught.value.message


def test_no_rules_is_no_policy() -> None:
    with pytest.raises(DocumentError, match="rules: is empty"):
        load_policy(document().replace(b"rules:", b"rules: []"), "p.yaml", VOCABULARY)
    with pytest.raises(DocumentError):
        load_policy(b"", "p.yaml", VOCABULARY)


def test_two_rules_of_one_id_are_refused() -> None:
    content = document("assert: weights.canonical", "assert: config.strict").replace(b"id: r1", b"id: r0")
    with pytest.raises(DocumentError, match=r"rules\.1\.id: rule r0 appears twice"):
        load_policy(content, "p.yaml", VOCABULARY)


def test_a_policy_whose_rules_could_all_be_switched_off_is_refused() -> None:
    message = problem("when: 'bounds.max_rank > 3', assert: weights.canonical")
    assert "let one always apply" in message


def test_a_guard_names_its_suite() -> None:
    message = problem("assert: config.strict", "when: 'suite.*.complete', assert: weights.canonical")
    assert "rules.1.when: suite.* stands only in assertions" in message


def test_a_wildcard_needs_a_suite() -> None:
    assert "rules.0.assert: speaks of suite.*, but the context names no suite (rule r0)" in problem(
        "assert: 'suite.*.complete'", suites=()
    )


def test_a_wildcard_becomes_one_condition_per_suite_in_order() -> None:
    compiled = policy_of("assert: 'suite.*.lower >= 0.5 && suite.*.complete && suite.lookups.n > 3'").rules[0]
    assert [condition.text for condition in compiled.conditions] == [
        f"suite.{suite}.lower >= 0.5 && suite.{suite}.complete && suite.lookups.n > 3" for suite in sorted(SUITES)
    ]
    assert compiled.rule.assertion == "suite.*.lower >= 0.5 && suite.*.complete && suite.lookups.n > 3"


def test_only_the_source_may_stand_in_braces() -> None:
    policy = policy_of("assert: weights.canonical, next: 'run: inspect {source}'")
    assert policy.rules[0].rule.next_step == "run: inspect {source}"
    for text in ("run {sauce}", "run {source", "run source}", "run {0}", "run {}"):
        assert "rules.0.next: only {source} and {artifact} may stand in braces" in problem(
            f"assert: weights.canonical, next: '{text}'"
        )


def test_both_next_steps_are_checked() -> None:
    assert "rules.0.nextIfUnknown: only {source} and {artifact} may stand in braces" in problem(
        "assert: weights.canonical, nextIfUnknown: 'run {sauce}'"
    )


def test_a_rule_without_next_step_gets_one() -> None:
    compiled = policy_of("assert: weights.canonical").rules[0]
    assert "{source}" in compiled.rule.next_step
    assert "{source}" in compiled.unknown_step


def test_parameters_of_every_type_are_typed() -> None:
    policy = policy_of(
        "assert: 'suite.*.lower >= params.floor && sandbox.level >= params.level'",
        "assert: 'rights.licence in params.allow && rights.licence != params.never'",
        params="{floor: 0.5, level: 20, allow: [mit], never: gpl}",
    )
    fixed = {name: value for rule in policy.rules for c in rule.conditions for name, value in c.fixed.items()}
    assert fixed == {"params.floor": 0.5, "params.level": 20, "params.allow": ("mit",), "params.never": "gpl"}


def test_the_digest_is_of_the_meaning_not_the_layout() -> None:
    content = document("assert: weights.canonical")
    one = load_policy(content, "p.yaml", VOCABULARY).policy.digest
    assert load_policy(b"# a comment\n" + content, "q.yaml", VOCABULARY).policy.digest == one
    assert load_policy(content.replace(b"because", b"otherwise"), "p.yaml", VOCABULARY).policy.digest != one


def test_a_number_that_cannot_be_hashed_exactly_is_refused() -> None:
    with pytest.raises(DocumentError, match="cannot be hashed"):
        load_policy(
            document("assert: 'sandbox.level < params.big'", params="{big: 9007199254740993}"), "p.yaml", VOCABULARY
        )


def test_compiled_values_refuse_to_be_empty_or_to_differ_from_their_policy() -> None:
    rule = Rule("r", "weights.canonical", "why", "next")
    condition = compile_condition("weights.canonical", VOCABULARY, {})
    with pytest.raises(ValueError, match="without a condition"):
        CompiledRule(rule, None, (), "")
    policy = Policy("p", policy_of("assert: weights.canonical").policy.digest, (rule,))
    CompiledPolicy(policy, (CompiledRule(rule, None, (condition,), ""),))
    with pytest.raises(ValueError, match="exactly the rules"):
        CompiledPolicy(policy, ())


def test_text_that_no_expression_engine_takes_is_an_error_not_a_crash() -> None:
    from peft_assay.evaluate.interface import MalformedExpression

    with pytest.raises(MalformedExpression, match="not text that can be an expression"):
        compile_condition("\ud800", VOCABULARY, {})
