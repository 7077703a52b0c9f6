"""The policy document: strict YAML, checked against the vocabulary of its context before anything is evaluated."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from peft_assay.core.canonical import typed_digest
from peft_assay.core.errors import DocumentError
from peft_assay.core.observation import Value
from peft_assay.core.parse import parse_yaml, validate
from peft_assay.core.policy import Policy, Rule
from peft_assay.core.vocabulary import Term
from peft_assay.evaluate.expression import compile_condition, names_in
from peft_assay.evaluate.interface import CompiledPolicy, CompiledRule, Condition, MalformedExpression

MAX_POLICY_BYTES = 1 << 20
WILDCARD = re.compile(r"(?<![\w.])suite\.\*(?=\.)")
"""``suite.*`` in an assertion: it must hold for every suite of the context."""
_DEFAULT_NEXT = "use a version of the adapter for which the rule holds, then run: peft-assay certify {source}"
_DEFAULT_UNKNOWN = "see which observation is missing, and why: peft-assay policy explain {source}"
_PLACEHOLDER = re.compile(r"\{(?!source\}|artifact\})[^}]*\}?|(?<!\{source)(?<!\{artifact)\}")
_NEXT_STEP = "correct the policy, then run: peft-assay policy lint"

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Expression = Annotated[str, Field(min_length=1, max_length=4096)]
Prose = Annotated[str, Field(min_length=1, max_length=2000)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RuleDocument(_Strict):
    """One rule as written."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    when: Expression | None = None
    assert_: Expression = Field(alias="assert")
    why: Prose
    next: Prose = _DEFAULT_NEXT
    """What to do when the assertion is false."""
    nextIfUnknown: Prose = _DEFAULT_UNKNOWN
    """What to do when evidence is missing: another matter than evidence against the adapter."""


class PolicyDocument(_Strict):
    """The whole document as written."""

    apiVersion: Literal["peft-assay/v1"]
    kind: Literal["Policy"]
    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    description: Prose
    params: dict[Identifier, int | Number | str | list[str]] = Field(default={}, max_length=100)
    rules: list[RuleDocument] = Field(min_length=1, max_length=200)


def load_policy(content: bytes, where: str, vocabulary: Mapping[str, Term]) -> CompiledPolicy:
    """The policy in `content`, compiled against `vocabulary` (the terms of one context, by name).

    Raises one DocumentError with every problem, each with its field path and rule id: an unknown name, a wrong type,
    an assertion that is not boolean or speaks of nothing observed, a parameter nobody reads, rules that all could be
    switched off, ``suite.*`` in a context that names no suite.
    """
    value = parse_yaml(content, where=where, max_bytes=MAX_POLICY_BYTES)
    document = validate(PolicyDocument, value, where=where)
    problems = list(_problems_of_the_whole(document))
    params = {name: tuple(v) if isinstance(v, list) else v for name, v in document.params.items()}
    conditions = []
    for index, rule in enumerate(document.rules):
        try:
            conditions.append(_conditions(rule, vocabulary, params))
        except _RuleProblem as problem:
            problems.append(f"rules.{index}.{problem} (rule {rule.id})")
    if problems:
        raise DocumentError("; ".join(problems), where=where, next_step=_NEXT_STEP)
    policy = Policy(document.id, _digest(value, where), tuple(_rule(rule) for rule in document.rules))
    unknown_steps = [rule.nextIfUnknown.strip() for rule in document.rules]
    parts = zip(policy.rules, conditions, unknown_steps, strict=True)
    return CompiledPolicy(policy, tuple(CompiledRule(rule, *found, step) for rule, found, step in parts))


class _RuleProblem(ValueError):
    pass


def _rule(document: RuleDocument) -> Rule:
    assertion = document.assert_.strip()
    if document.when is not None:
        assertion = f"when {document.when.strip()}: {assertion}"
    return Rule(document.id, assertion, document.why.strip(), document.next.strip())


def _digest(value: Any, where: str) -> Any:
    try:
        return typed_digest(value)  # CEL divides 9 and 9.0 differently
    except ValueError as error:
        raise DocumentError(f"cannot be hashed: {error}", where=where, next_step=_NEXT_STEP) from None


def _problems_of_the_whole(document: PolicyDocument) -> Iterator[str]:
    seen: set[str] = set()
    for index, rule in enumerate(document.rules):
        if rule.id in seen:
            yield f"rules.{index}.id: rule {rule.id} appears twice"
        seen.add(rule.id)
        for field, step in (("next", rule.next), ("nextIfUnknown", rule.nextIfUnknown)):
            if _PLACEHOLDER.search(step):
                yield f"rules.{index}.{field}: only {{source}} and {{artifact}} may stand in braces (rule {rule.id})"
    if all(rule.when is not None for rule in document.rules):
        yield "rules: every rule has `when`, so a policy could hold because none applied; let one always apply"
    read = frozenset[str]().union(*(names_in(f"{rule.assert_} {rule.when or ''}") for rule in document.rules))
    for name in document.params:
        if f"params.{name}" not in read:
            yield f"params.{name}: no rule reads it"


def _conditions(
    rule: RuleDocument, vocabulary: Mapping[str, Term], params: Mapping[str, Value]
) -> tuple[Condition | None, tuple[Condition, ...]]:
    guard = None
    if rule.when is not None:
        if WILDCARD.search(rule.when):
            raise _RuleProblem("when: suite.* stands only in assertions; name the suite")
        guard = _compile("when", rule.when, vocabulary, params)
    return guard, tuple(_compile("assert", text, vocabulary, params) for text in _expand(rule.assert_, vocabulary))


def _expand(assertion: str, vocabulary: Mapping[str, Term]) -> list[str]:
    if not WILDCARD.search(assertion):
        return [assertion]
    suites = sorted({name.split(".")[1] for name in vocabulary if name.startswith("suite.")})
    if not suites:
        raise _RuleProblem("assert: speaks of suite.*, but the context names no suite")
    return [WILDCARD.sub(f"suite.{suite}", assertion) for suite in suites]


def _compile(field: str, text: str, vocabulary: Mapping[str, Term], params: Mapping[str, Value]) -> Condition:
    try:
        return compile_condition(text.strip(), vocabulary, params)
    except MalformedExpression as error:
        raise _RuleProblem(f"{field}: {error}") from None
