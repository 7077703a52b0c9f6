"""What evaluation works on: conditions, compiled rules, and a policy that has been checked against its vocabulary."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from peft_assay.core.observation import Value
from peft_assay.core.policy import Policy, Rule
from peft_assay.core.vocabulary import Term


class Undecidable(Exception):
    """A condition has no truth value for these observations (division by zero, evaluation budget, ...)."""


class MalformedExpression(ValueError):
    """An expression does not compile; the message says where and why, in one line."""


class Condition(Protocol):
    """One compiled boolean expression."""

    @property
    def text(self) -> str:
        """The expression, wildcards expanded."""

    @property
    def terms(self) -> tuple[Term, ...]:
        """Terms that the expression may refer to, by name. Never fewer than it does refer to."""

    @property
    def fixed(self) -> Mapping[str, Value]:
        """Parameters and named constants that it refers to, with their values."""

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Truth of the condition given a value of the right type for each of `terms`; raises Undecidable."""


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """One rule with its conditions; it holds when all `conditions` do."""

    rule: Rule
    guard: Condition | None
    """When given and false, the rule does not apply; it must be determinate itself."""
    conditions: tuple[Condition, ...]
    """Never empty. Several where the assertion speaks of every suite."""
    unknown_step: str
    """The next step when evidence is missing, where `rule.next_step` is for contrary evidence."""

    def __post_init__(self) -> None:
        if not self.conditions:
            raise ValueError(f"{self.rule.id}: a rule without a condition would hold for anything")


@dataclass(frozen=True, slots=True)
class CompiledPolicy:
    """A policy that loads in its context: every name known, every type right, every assertion boolean."""

    policy: Policy
    rules: tuple[CompiledRule, ...]
    """In policy order."""

    def __post_init__(self) -> None:
        if tuple(compiled.rule for compiled in self.rules) != self.policy.rules:
            raise ValueError("a compiled policy has exactly the rules of its policy, in their order")

    @property
    def parameters(self) -> Mapping[str, Value]:
        """The parameters that its conditions read, as they name them (``params.floor``)."""
        conditions = [c for rule in self.rules for c in (*rule.conditions, rule.guard) if c is not None]
        read = {name: value for condition in conditions for name, value in condition.fixed.items()}
        return {name: read[name] for name in sorted(read) if name.startswith("params.")}
