"""Lint: what a policy that loads may still get wrong. Findings, each with the rule, the reason and the next step.

Loading already refuses unknown names, wrong types, parameters nobody reads and rules that observe nothing
(`load_policy`); lint looks for what is well-typed and useless, or well-typed and dangerous.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from peft_assay.core.observation import Value
from peft_assay.core.vocabulary import Kind
from peft_assay.evaluate.interface import CompiledPolicy, CompiledRule, Condition
from peft_assay.evaluate.witness import assignments, terms_of, truth, witness

ESSENTIALS: Mapping[str, str] = {
    "weights.canonical": "that the weights have one reading",
    "weights.pickle_files": "that nothing has to be unpickled",
    "weights.undeclared": "that no tensor goes where the configuration does not say",
    "config.strict": "that the configuration is what a loader reads",
    "effect.base_unchanged": "that loading leaves the base as it was",
    "sandbox.level": "how well it was isolated when it was observed",
    "sandbox.events": "that the sandbox did not have to step in",
    "answers.contradictions": "that its process did not contradict itself",
}
"""What a policy for production should speak of, and what it leaves open when it does not."""

_ALL = re.compile(r"([A-Za-z_][\w.]*)\s*\.\s*all\s*\(")
_RELATIVE = re.compile(r"suite\.\w+\.(?:difference(?:_lower|_upper)?|gains|losses|mcnemar_p)\b")
_ABSOLUTE = re.compile(r"suite\.\w+\.(?:n|passes|rate|lower|upper|interval_low|interval_high|failures_upper)\b")


class Weight(StrEnum):
    """An ERROR makes the policy useless or unsafe; a WARNING may be meant."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that lint says; `rule` is None for the policy as a whole."""

    code: str
    weight: Weight
    rule: str | None
    message: str
    next_step: str


BestSuite = Callable[[str, int], Mapping[str, Value]]
"""Given a suite's id and n: its observations if every case passes and the base is no better."""


def lint(policy: CompiledPolicy, suites: Mapping[str, int], best: BestSuite) -> tuple[Finding, ...]:
    """Everything lint has to say of `policy` in a context whose suites have these numbers of cases."""
    found = list(_essentials(policy))
    found.extend(_only_relative(policy))
    for rule in policy.rules:
        found.extend(_vacuous(rule))
        found.extend(_one_sided(rule))
        found.extend(_statistics(rule, suites, best))
    return tuple(found)


def _essentials(policy: CompiledPolicy) -> Iterator[Finding]:
    spoken = {term.name for rule in policy.rules if rule.guard is None for term in terms_of(rule.conditions)}
    for name, what in ESSENTIALS.items():
        if name not in spoken:
            yield Finding(
                "essential-missing",
                Weight.WARNING,
                None,
                f"no rule that always applies speaks of {name}: it leaves open {what}",
                "add the rule, as builtin:default has it",
            )


def _only_relative(policy: CompiledPolicy) -> Iterator[Finding]:
    texts = [condition.text for rule in policy.rules for condition in rule.conditions]
    relative = [rule for rule in policy.rules if any(_RELATIVE.search(c.text) for c in rule.conditions)]
    if relative and not any(_ABSOLUTE.search(text) for text in texts):
        yield Finding(
            "only-relative",
            Weight.WARNING,
            relative[0].rule.id,
            "behaviour is judged only relative to the base: where the base is bad, an adapter as bad passes",
            "ask for a floor as well: suite.*.lower >= params.floor",
        )


def _vacuous(rule: CompiledRule) -> Iterator[Finding]:
    for condition in rule.conditions:
        lists = {term.name for term in condition.terms if term.kind is Kind.STRINGS}
        for name in sorted(set(_ALL.findall(condition.text)) & lists):
            if not re.search(rf"size\(\s*{re.escape(name)}\s*\)\s*(>|!=|>=)", condition.text):
                yield Finding(
                    "vacuous-all",
                    Weight.WARNING,
                    rule.rule.id,
                    f"{name}.all(...) is true of an empty list",
                    f"write: size({name}) > 0 && {name}.all(...), if an empty list is no evidence",
                )


def _one_sided(rule: CompiledRule) -> Iterator[Finding]:
    if rule.guard is not None and not _applies(rule.guard):
        message = f"`when: {rule.guard.text}` was never found true: the rule never applies"
        yield Finding("never-applies", Weight.ERROR, rule.rule.id, message, "correct the guard")
        return
    if witness(rule, passing=False) is None:
        yield Finding(
            "never-denies",
            Weight.ERROR,
            rule.rule.id,
            "no observation was found that makes it deny: it protects from nothing",
            "correct the comparison; peft-assay policy test shows each rule denying",
        )
    if witness(rule, passing=True) is None:
        yield Finding(
            "never-passes",
            Weight.ERROR,
            rule.rule.id,
            "no observation was found that makes it pass: it would deny every adapter",
            "correct the comparison, or drop the rule",
        )


def _applies(guard: Condition) -> bool:
    return any(truth((guard,), values) for values in assignments(guard.terms, (guard,)))


def _statistics(rule: CompiledRule, suites: Mapping[str, int], best: BestSuite) -> Iterator[Finding]:
    """Whether all cases right would be enough at each suite's n."""
    for need in _needs(rule, suites, best):
        if need.enough:
            continue
        how = "no number of cases satisfies it" if need.needed is None else f"it needs at least {need.needed} cases"
        yield Finding(
            "n-too-small",
            Weight.ERROR,
            rule.rule.id,
            f"suite {need.suite} has {need.n} cases: with every one right, {need.condition} is still false; {how}",
            "add cases to the suite, or ask for less" if need.needed else "ask for less",
        )


@dataclass(frozen=True, slots=True)
class Need:
    """How many cases one condition of a rule needs of one suite."""

    rule: str
    suite: str
    condition: str
    n: int
    """Cases that the suite has."""
    needed: int | None
    """The least number at which every case right satisfies the condition; None where no number does."""
    enough: bool


def needed_cases(policy: CompiledPolicy, suites: Mapping[str, int], best: BestSuite) -> tuple[Need, ...]:
    """What every condition over one suite needs, in policy order."""
    return tuple(need for rule in policy.rules for need in _needs(rule, suites, best))


def _needs(rule: CompiledRule, suites: Mapping[str, int], best: BestSuite) -> Iterator[Need]:
    for condition in rule.conditions:
        names = {term.name.split(".")[1] for term in condition.terms if term.name.startswith("suite.")}
        if len(names) != 1 or not all(term.name.startswith("suite.") for term in condition.terms):
            continue
        suite = names.pop()
        n = suites[suite]
        needed = _enough(lambda m, c=condition, s=suite: truth((c,), best(s, m)) is True)  # type: ignore[misc]
        enough = truth((condition,), best(suite, n)) is not False
        yield Need(rule.rule.id, suite, condition.text, n, needed, enough)


def _enough(satisfied: Callable[[int], bool], most: int = 100_000) -> int | None:
    """The least n that satisfies, assuming that more cases never hurt; None when `most` do not."""
    if not satisfied(most):
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if satisfied(middle) else (middle, high)
    return high
