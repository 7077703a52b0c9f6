"""The observe room's behavioural half: what a probe asks of a model, and what it concludes from the answers.

A probe asks the base alone and the adapted model the same questions (`ask`), keeps what came back as a record, and
draws its observations from the two records afterwards (`observe`), when the sandbox has said that nothing happened
meanwhile. Asking is all that costs; concluding is pure, so that records can be kept and judged again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from peft_assay.core.digest import Digest
from peft_assay.core.exercises import Exercises
from peft_assay.core.observation import Observation
from peft_assay.core.sandbox import Ask, Limits
from peft_assay.core.suite import Suite
from peft_assay.observe.behaviour.answers import CLOSE
from peft_assay.observe.behaviour.memory import Memory

Record = TypeVar("Record")

REFERENCE_DTYPE = "float32"
CONFIDENTIALITY = ("public", "internal", "confidential")
"""Of suites, from the least strict."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A result that the publisher claims for the adapter (`model-index` of its card)."""

    task: str
    dataset: str
    """Its id (`dataset.type`); may be empty, as its name may."""
    dataset_name: str
    metric: str
    value: float | None
    """As written, percentages above 1; None where what is written is no finite number."""


@dataclass(frozen=True, slots=True)
class Claims:
    """All that the card claims."""

    results: tuple[Claim, ...] = ()
    problem: str | None = None
    """Why that could not be read (quotes hostile text); None when it could, also where nothing is claimed."""


@dataclass(frozen=True, slots=True)
class Bank:
    """What the consumer's own certified adapters measured, by term: the company that an adapter is compared with."""

    values: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Values of one term over adapters of the same base and type, each adapter once."""
    own: Mapping[str, float] = field(default_factory=dict)
    """What was measured of this adapter before it ran, by the same terms."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an adapter is exercised with, and what its answers are compared with."""

    suites: tuple[Suite, ...]
    exercises: Exercises = field(default_factory=Exercises)
    limits: Limits = field(default_factory=Limits)
    claims: Claims = field(default_factory=Claims)
    bank: Bank = field(default_factory=Bank)
    dtype: str = REFERENCE_DTYPE
    """That the base was loaded in."""
    vocabulary: int | None = None
    """Tokens of the base, by its own files, or of the adapter that resizes it; None where they do not say."""
    resized: bool = False
    """Whether `vocabulary` is the adapter's own."""
    new_ids: tuple[int, ...] = ()
    """Tokens of the adapter's that the base does not have and that the scan inserts by their ids."""
    unscanned: int = 0
    """The number of such tokens that it leaves out."""
    tokens: bytes = b""
    """What the adapter adds to the base's tokenizer, as `core.sandbox.Job` has it."""

    @property
    def close(self) -> float:
        """Margin in nats below which an answer is asked again precisely: none in the reference dtype."""
        return 0.0 if self.dtype == REFERENCE_DTYPE else CLOSE

    @property
    def compartment(self) -> str:
        """The strictest confidentiality among the suites: workers that served one do not serve another."""
        return max((suite.confidentiality for suite in self.suites), key=CONFIDENTIALITY.index, default="")

    def suite(self, name: str | None) -> Suite | None:
        """The suite with this id, or None."""
        return next((suite for suite in self.suites if suite.id == name), None)


class Records:
    """What probes kept of one model's answers: one record of each type, found by its type."""

    def __init__(self) -> None:
        self._kept: dict[type, Any] = {}

    def keep(self, record: object) -> None:
        """Adds a record; raises ValueError when one of its type is there."""
        if type(record) in self._kept:
            raise ValueError(f"a second {type(record).__name__}")
        self._kept[type(record)] = record

    def of(self, kind: type[Record]) -> Record | None:
        """The record of this type, or None when its probe was not asked or had nothing to ask."""
        return self._kept.get(kind)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a probe works with while it asks."""

    ask: Ask
    """Raises ChildGone when the child can no longer answer, or answers out of shape: let it through."""
    plan: Plan
    own: Records
    """Of the probes that came before, on the same model."""
    base: Records | None
    """The base's records of all probes; None while the base itself is asked."""
    memory: Memory = field(default_factory=Memory)
    """What the same model answered before under the same conditions, and what it answers now."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a probe concludes from: both models' records, of conversations in which nothing else happened."""

    plan: Plan
    own: Records
    base: Records
    base_state: Digest
    """Of the base as the worker loaded it."""


class BehaviourProbe(Protocol):
    """One question put to base and adapter alike. Its terms are fixed by the plan, and it gives each exactly once."""

    @property
    def id(self) -> str:
        """Stable name, part of the lock; its page is docs/probes/<id>.md."""

    @property
    def version(self) -> str:
        """Changes when the same answers may be observed differently, or other questions are asked."""

    @property
    def kind(self) -> type:
        """Type of its record: a frozen dataclass of plain values, which is kept as JSON."""

    def terms(self, plan: Plan) -> tuple[str, ...]:
        """Names of the vocabulary that `observe` gives."""

    def ask(self, turn: Turn) -> object | None:
        """Asks, and gives the record; None when the plan declares nothing to ask, or the base need not be asked."""

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """The observations; for what the plan does not declare, failed ones that say so."""
