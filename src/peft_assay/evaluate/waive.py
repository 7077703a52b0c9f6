"""Waivers applied to a verdict: a rule that fails becomes WAIVED where a waiver accepts exactly what it saw.

Pure and monotonic: only a FAIL over evidence that is all there can be waived, so taking evidence away never helps.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from peft_assay.core.canonical import typed_digest
from peft_assay.core.digest import Digest
from peft_assay.core.verdict import Outcome, RuleResult, Verdict
from peft_assay.core.waiver import PROTECTED, Protected, Waiver, is_waivable
from peft_assay.evaluate.interface import CompiledPolicy, CompiledRule, Condition


def rule_digest(rule: CompiledRule) -> Digest:
    """sha256 of what `rule` means in its context: conditions with suites named, guard, and every value they read."""
    return typed_digest(
        {
            "id": rule.rule.id,
            "when": None if rule.guard is None else _meaning(rule.guard),
            "assert": [_meaning(condition) for condition in rule.conditions],
        }
    )


def _meaning(condition: Condition) -> dict[str, object]:
    fixed = {name: list(value) if isinstance(value, tuple) else value for name, value in condition.fixed.items()}
    return {"text": condition.text, "fixed": fixed, "terms": [[t.name, t.kind.value] for t in condition.terms]}


def protection(rule: CompiledRule) -> tuple[str, Protected | None] | None:
    """A term because of which `rule` is never waived, and what it protects; None where it may be waived.

    The assertion decides, whatever the rule is called; of its guard everything but the context's own terms counts too,
    or an isolation rule could be written as one about something else.
    """
    asserted = {term.name for condition in rule.conditions for term in condition.terms}
    guarding = set() if rule.guard is None else {term.name for term in rule.guard.terms}
    guarding = {name for name in guarding if PROTECTED.get(name) is not Protected.CONTEXT}
    for name in sorted(asserted | guarding):
        if not is_waivable(name):
            return name, PROTECTED.get(name)
    return None


def waive(
    policy: CompiledPolicy, verdict: Verdict, waivers: Sequence[Waiver], *, circumstances: Digest, now: datetime
) -> Verdict:
    """`verdict`, the policy's, with each failing rule WAIVED that one of `waivers` accepts as it was seen.

    `waivers` were verified and not withdrawn; that they are about this artifact, here, now and this rule is asked here.
    Of several the one that lasts longest counts.
    """
    covering = [waiver for waiver in waivers if waiver.covers(verdict.artifact, circumstances, now)]
    covering.sort(key=lambda waiver: (waiver.expires, waiver.envelope or ""), reverse=True)
    results = (_waived(*pair, covering) for pair in zip(policy.rules, verdict.results, strict=True))
    return replace(verdict, results=tuple(results))


def _waived(rule: CompiledRule, result: RuleResult, waivers: Sequence[Waiver]) -> RuleResult:
    if result.outcome is not Outcome.FAIL or protection(rule) is not None:
        return result
    mine = [waiver for waiver in waivers if waiver.rule == result.rule and waiver.accepts(result.saw)]
    meant = rule_digest(rule) if mine else None
    found = next((waiver for waiver in mine if waiver.rule_digest == meant), None)
    return result if found is None else replace(result, outcome=Outcome.WAIVED, waiver=found.envelope)
