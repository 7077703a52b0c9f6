"""What a verdict holds for: the deployment context, and the lock it resolves to."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest

LOCK_VERSION = "peft-assay/lock/v1"
REGISTERS = frozenset({"examination", "policy", "publishers", "rights", "tables"})
"""Parts of a lock that say how it is judged, not what the deployment is."""


@dataclass(frozen=True, slots=True)
class Engine:
    """The serving engine that the context declares, with its material limits."""

    name: str
    dtype: str
    max_rank: int | None
    """Largest LoRA rank that the engine is configured to serve; None: no limit declared."""


class Beyond(StrEnum):
    """The reaction of a governed model to prompts and answers beyond the served lengths."""

    WARN = "warn"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Lengths:
    """The longest prompt and answer that a deployment serves, in tokens of its base."""

    prompt: int
    answer: int
    beyond: Beyond

    def document(self) -> dict[str, Any]:
        """Return the lengths as the lock has them."""
        return {"prompt": self.prompt, "answer": self.answer, "beyond": self.beyond.value}


@dataclass(frozen=True, slots=True)
class DeploymentContext:
    """The declared half: what somebody wrote. Files are resolved by the pipeline into a `Lock`."""

    name: str
    purpose: str
    engine: Engine
    system_prompt: str | None
    labels: Mapping[str, str]
    maximum_age: timedelta
    """How old the oldest observation under a certificate may be."""
    production: bool
    """True: development keys are refused."""
    minimum_isolation: int
    """Lowest acceptable `IsolationLevel`."""
    lengths: Lengths | None = None
    """None: the tested lengths are the served ones."""


@dataclass(frozen=True, slots=True)
class Lock:
    """One canonical document with the digest of everything that changes behaviour or meaning.

    ``document["conditions"]`` is the part that observations bind to (base, stack, suites, harness), so that an edit of
    the policy orphans none of them.
    """

    document: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.document.get("apiVersion") != LOCK_VERSION or "conditions" not in self.document:
            raise ValueError(f"a lock has apiVersion {LOCK_VERSION} and conditions")

    def lengths(self, tested: Callable[[str], object]) -> Lengths:
        """Return the served lengths: the declared ones, else the tested ones, beyond which the model only warns.

        `tested` gives a term's value; a term without an observation is 0, so that every length is beyond it.
        """
        match self.document.get("lengths"):
            case {"prompt": int(prompt), "answer": int(answer), "beyond": str(beyond)}:
                return Lengths(prompt, answer, Beyond(beyond))
        longest = [
            value if isinstance(value := tested(f"tested.{name}_tokens"), int) else 0 for name in ("prompt", "answer")
        ]
        return Lengths(longest[0], longest[1], Beyond.WARN)

    @property
    def digest(self) -> Digest:
        """sha256 of the whole canonical document: what a certificate is for."""
        return canonical_digest(self.document)

    @property
    def conditions(self) -> Digest:
        """sha256 of the observation conditions alone: what observations are made under."""
        return canonical_digest(self.document["conditions"])

    @property
    def circumstances(self) -> Digest:
        """sha256 of what the deployment is: the lock without policy, registers and tables.

        What a waiver is for: an edit of another rule, or a licence that was looked up, ends no waiver. What they change
        of the rule or of what it sees does, because a waiver names both.
        """
        return canonical_digest({name: part for name, part in self.document.items() if name not in REGISTERS})
