"""The policy: the consumer's admissibility rules, typed, never empty."""

from dataclasses import dataclass

from peft_assay.core.digest import Digest


@dataclass(frozen=True, slots=True)
class Rule:
    """One positive assertion over the vocabulary, in CEL."""

    id: str
    assertion: str
    why: str
    """What it means for the consumer when the rule does not hold."""
    next_step: str
    """The one next command or action when it does not hold; ``{source}`` stands for the adapter's source."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules in the order in which they decide."""

    id: str
    digest: Digest
    """sha256 of the canonical document."""
    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        ids = [rule.id for rule in self.rules]
        if not ids or len(ids) != len(set(ids)):
            raise ValueError("a policy has at least one rule, each id once")
