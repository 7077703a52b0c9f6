"""The verdict: per-rule outcome and the whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest
from peft_assay.core.errors import Door
from peft_assay.core.observation import Value


class Outcome(StrEnum):
    """The result for an adapter or a rule. PASS, FAIL and INDETERMINATE are results of a policy.

    WAIVED is for rules only: the rule fails, and an approver accepts that. The verdict is then PASS, with its waivers
    named. REFUSED is intake's: there is no artifact. WITHHELD is the authority's: the policy passes, but a withdrawal
    in force forbids to certify, which only an approver's lift ends, or the gate would refuse the certificate at once.
    """

    PASS = "PASS"  # noqa: S105 - an outcome
    FAIL = "FAIL"
    INDETERMINATE = "INDETERMINATE"
    REFUSED = "REFUSED"
    WITHHELD = "WITHHELD"
    WAIVED = "WAIVED"


OUTCOME_DOORS: dict[Outcome, Door] = {
    Outcome.PASS: Door.PASSED,
    Outcome.FAIL: Door.FAILED,
    Outcome.INDETERMINATE: Door.INDETERMINATE,
    Outcome.REFUSED: Door.REFUSED,
    Outcome.WITHHELD: Door.DENIED,
}


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule's outcome, with what it saw."""

    rule: str
    outcome: Outcome
    assertion: str
    explanation: str
    """Empty for PASS; else why the rule does not hold or which evidence is missing."""
    saw: Mapping[str, Value | None]
    """The observations that the rule refers to, by name; None where there is no usable one."""
    next_step: str
    waiver: Digest | None = None
    """Envelope of the waiver that accepts what was seen; given exactly for WAIVED."""

    def __post_init__(self) -> None:
        if (self.outcome is Outcome.WAIVED) != (self.waiver is not None):
            raise ValueError(f"{self.rule}: exactly a waived rule names its waiver")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The policy's answer about one artifact in one context."""

    artifact: Digest
    lock: Digest
    policy: Digest
    results: tuple[RuleResult, ...]
    """In policy order, never empty."""

    def __post_init__(self) -> None:
        if not self.results:
            raise ValueError("a verdict over no rules is not a verdict")

    @property
    def outcome(self) -> Outcome:
        """FAIL > INDETERMINATE > PASS; a waived rule stands in nobody's way."""
        outcomes = {result.outcome for result in self.results}
        for outcome in (Outcome.FAIL, Outcome.INDETERMINATE):
            if outcome in outcomes:
                return outcome
        return Outcome.PASS

    @property
    def waived(self) -> tuple[RuleResult, ...]:
        """The rules that fail and are accepted, in policy order."""
        return tuple(result for result in self.results if result.outcome is Outcome.WAIVED)

    @property
    def digest(self) -> Digest:
        """Over the outcome of every rule, in policy order: two verdicts that share it decide alike throughout."""
        return canonical_digest([[result.rule, result.outcome.value] for result in self.results])

    @property
    def deciding(self) -> RuleResult | None:
        """The first rule, in policy order, whose outcome is the whole's; None when all pass."""
        whole = self.outcome
        if whole is Outcome.PASS:
            return None
        return next(result for result in self.results if result.outcome is whole)
