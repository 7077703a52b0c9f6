"""The three-valued evaluator: PASS on positive evidence, FAIL on contrary evidence, INDETERMINATE on anything else."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from peft_assay.core.digest import Digest
from peft_assay.core.observation import Observation, ObservationSet, Status, Value
from peft_assay.core.verdict import Outcome, RuleResult, Verdict
from peft_assay.core.vocabulary import Kind, Term
from peft_assay.evaluate.interface import CompiledPolicy, CompiledRule, Condition, Undecidable

_INT64 = range(-(1 << 63), 1 << 63)
_SHOWN_ITEMS = 5


def evaluate(policy: CompiledPolicy, observations: ObservationSet, lock: Digest) -> Verdict:
    """The policy's verdict about the artifact of `observations` in the context locked by `lock`.

    A rule passes only when every term it may refer to was observed (status ok, of the vocabulary's type, finite) and
    each of its conditions is exactly true. Evidence that is missing, failed or of another type, and an expression that
    cannot be evaluated, make the rule INDETERMINATE with the reason. Total: never raises for what was observed.
    """
    observed = {observation.name: observation for observation in observations.observations}
    results = tuple(_judge(compiled, observed) for compiled in policy.rules)
    return Verdict(observations.artifact, lock, policy.policy.digest, results)


class _Unusable(Exception):
    """There is no usable observation of a term; the message says why."""


def _judge(compiled: CompiledRule, observed: Mapping[str, Observation]) -> RuleResult:
    outcome, explanation = _outcome(compiled, observed)
    guard = () if compiled.guard is None else (compiled.guard,)
    saw: dict[str, Value | None] = {}
    for term in _terms((*guard, *compiled.conditions)):
        try:
            saw[term.name] = _value(term, observed)
        except _Unusable:
            saw[term.name] = None
    rule = compiled.rule
    step = compiled.unknown_step if outcome is Outcome.INDETERMINATE else rule.next_step
    return RuleResult(rule.id, outcome, rule.assertion, explanation, saw, step)


def _outcome(compiled: CompiledRule, observed: Mapping[str, Observation]) -> tuple[Outcome, str]:
    try:
        if compiled.guard is not None and _broken((compiled.guard,), observed):
            return Outcome.PASS, f"does not apply: not ({compiled.guard.text})"
        broken = _broken(compiled.conditions, observed)
    except (_Unusable, Undecidable) as reason:
        return Outcome.INDETERMINATE, str(reason)
    if broken:
        return Outcome.FAIL, f"{compiled.rule.why} {' '.join(broken)}"
    return Outcome.PASS, ""


def _broken(conditions: tuple[Condition, ...], observed: Mapping[str, Observation]) -> list[str]:
    """Those of `conditions` that are false, each with what was seen; raises when one has no truth value."""
    values: dict[str, Value] = {}
    unusable: dict[str, list[str]] = {}
    for term in _terms(conditions):
        try:
            values[term.name] = _value(term, observed)
        except _Unusable as reason:
            unusable.setdefault(str(reason), []).append(term.name)
    if unusable:
        listed = (f"{', '.join(names)} ({reason})" for reason, names in unusable.items())
        raise _Unusable(f"no usable observation: {'; '.join(listed)}")
    # Every condition is evaluated before any is believed: an undecidable one outweighs a false one.
    return [_contrast(condition, values, observed) for condition in conditions if not _decide(condition, values)]


def _decide(condition: Condition, values: Mapping[str, Value]) -> bool:
    try:
        return condition.holds(values)
    except Undecidable as reason:
        raise Undecidable(f"{condition.text} cannot be evaluated: {reason}") from None


def _terms(conditions: Iterable[Condition]) -> list[Term]:
    terms = {term.name: term for condition in conditions for term in condition.terms}
    return [terms[name] for name in sorted(terms)]


def _value(term: Term, observed: Mapping[str, Observation]) -> Value:
    observation = observed.get(term.name)
    if observation is None:
        raise _Unusable("not observed")
    if observation.status is not Status.OK or observation.value is None:
        # a document that is not ours may say ok and give no value: that is a failure like any other
        status = Status.FAILED if observation.status is Status.OK else observation.status
        raise _Unusable(f"{status.called}: {observation.reason or 'no reason given'}")
    value = _typed(term.kind, observation.value)
    if value is None:
        raise _Unusable(f"not a usable {term.kind.value}: {type(observation.value).__name__}")
    return value


def _typed(kind: Kind, value: Any) -> Value | None:
    """`value` as the vocabulary's type, or None. A bool is no number; canonical JSON writes 1.0 as 1."""
    match kind, value:
        case Kind.BOOL, bool():
            return value
        case ((Kind.INT | Kind.DOUBLE), bool()):
            return None
        case Kind.INT, int() if value in _INT64:
            return value
        case Kind.DOUBLE, int() if value in _INT64:
            return float(value)
        case Kind.DOUBLE, float() if math.isfinite(value):
            return value
        case Kind.STRING, str() if _is_unicode(value):
            return value
        case Kind.STRINGS, tuple() if all(isinstance(item, str) and _is_unicode(item) for item in value):
            return value
        case _:
            return None


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _contrast(condition: Condition, values: Mapping[str, Value], observed: Mapping[str, Observation]) -> str:
    names = [term.name for term in condition.terms]
    saw = ", ".join(f"{name} = {_shown(values[name])}{_said(observed[name])}" for name in names)
    limits = ", ".join(f"{name} = {_shown(value)}" for name, value in condition.fixed.items())
    return f"Saw {saw}; needs {condition.text}{' with ' + limits if limits else ''}."


def _said(observation: Observation) -> str:
    """Why something is not so, where whoever observed it said why: a bare ``false`` leads nobody on."""
    return f" ({observation.reason})" if observation.value is False and observation.reason else ""


def _shown(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.4g}"
        case tuple():
            more = f", and {len(value) - _SHOWN_ITEMS} more" if len(value) > _SHOWN_ITEMS else ""
            return f"[{', '.join(value[:_SHOWN_ITEMS])}{more}]"
        case _:
            return str(value)
