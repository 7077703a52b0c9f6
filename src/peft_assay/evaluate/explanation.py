"""Explanations: for each rule what was seen, and the smallest change of one observation under which it would hold."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from peft_assay.core.observation import ObservationSet, Status, Value
from peft_assay.core.verdict import Outcome, RuleResult, Verdict
from peft_assay.core.vocabulary import Term
from peft_assay.evaluate.interface import CompiledPolicy, CompiledRule
from peft_assay.evaluate.waive import protection
from peft_assay.evaluate.witness import candidates, conditions_of, passes, terms_of, witness


@dataclass(frozen=True, slots=True)
class Change:
    """One observation that would have to be another."""

    term: str
    saw: Value
    needs: Value
    """For a number the nearest value found that suffices."""


@dataclass(frozen=True, slots=True)
class RuleExplanation:
    """One rule's result and what would change it."""

    result: RuleResult
    missing: Mapping[str, str]
    """Observations that the rule needs and does not have, each with the reason."""
    changes: tuple[Change, ...]
    """Each alone would make the rule pass; or, where none does, all of them together; empty when none were found."""
    together: bool
    """Whether `changes` only suffice together."""
    waivable: bool = False
    """Whether an approver could accept what it denies."""


def explain(policy: CompiledPolicy, observations: ObservationSet, verdict: Verdict) -> tuple[RuleExplanation, ...]:
    """One explanation for each rule, in policy order. `verdict` is the policy's over `observations`."""
    return tuple(
        _explained(compiled, observations, result)
        for compiled, result in zip(policy.rules, verdict.results, strict=True)
    )


def _explained(rule: CompiledRule, observations: ObservationSet, result: RuleResult) -> RuleExplanation:
    missing = {name: _why_missing(observations, name) for name, value in result.saw.items() if value is None}
    if result.outcome is not Outcome.FAIL:
        return RuleExplanation(result, missing, (), together=False)
    waivable = protection(rule) is None
    saw = {name: value for name, value in result.saw.items() if value is not None}
    terms = terms_of(conditions_of(rule))
    changes = tuple(change for term in terms if (change := _single(rule, term, saw)) is not None)
    if changes:
        return RuleExplanation(result, missing, changes, together=False, waivable=waivable)
    joint = tuple(_joint(rule, terms, saw))
    return RuleExplanation(result, missing, joint, together=bool(joint), waivable=waivable)


def _why_missing(observations: ObservationSet, name: str) -> str:
    observation = observations.get(name)
    if observation is None:
        return "not observed"
    if observation.status is Status.OK:
        return f"observed as {type(observation.value).__name__}, which the vocabulary does not allow"
    return observation.reason or observation.status.called


def _single(rule: CompiledRule, term: Term, saw: Mapping[str, Value]) -> Change | None:
    """The nearest value of `term` alone under which `rule` passes."""
    for value in _nearest(saw[term.name], candidates(term, conditions_of(rule))):
        if passes(rule, {**saw, term.name: value}):
            return Change(term.name, saw[term.name], value)
    return None


def _joint(rule: CompiledRule, terms: Sequence[Term], saw: Mapping[str, Value]) -> Iterable[Change]:
    """Changes that suffice together: a passing assignment, each term put back to what was seen where it can be."""
    found = witness(rule, passing=True)
    if found is None:
        return
    values = dict(found)
    for term in terms:
        trials = (saw[term.name], *_nearest(saw[term.name], candidates(term, conditions_of(rule))))
        # One always does: the value of the passing assignment is among them.
        values[term.name] = next(value for value in trials if passes(rule, {**values, term.name: value}))
    yield from (Change(t.name, saw[t.name], values[t.name]) for t in terms if values[t.name] != saw[t.name])


def _nearest(saw: Value, values: Iterable[Value]) -> list[Value]:
    others = [value for value in values if value != saw]
    if isinstance(saw, int | float) and not isinstance(saw, bool):
        return sorted(others, key=lambda value: abs(float(value) - float(saw)))  # type: ignore[arg-type]
    return others
