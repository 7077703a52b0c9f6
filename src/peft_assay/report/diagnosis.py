"""What `doctor` found on this host, as renderers are given it. Texts of the kernel and of programs may be hostile."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from peft_assay.core.errors import Door
from peft_assay.core.sandbox import IsolationLevel


class State(StrEnum):
    """What one layer contributes on this host."""

    OK = "ok"
    MISSING = "missing"
    """Not there, or not working: with it the level would be higher, or there would be one at all."""
    UNUSED = "unused"
    """Not needed here, or of no effect on the level."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One thing that isolation is built of."""

    name: str
    state: State
    detail: str
    remedy: str = ""
    """The command, or the act, that supplies it; empty unless it is missing."""


@dataclass(frozen=True, slots=True)
class TriedWalls:
    """One backend, tried by the start-up attacks."""

    name: str
    level: IsolationLevel
    attacks: Mapping[str, bool]
    """Start-up attack -> was it stopped? Empty where the walls could not be put up, or reached no level."""
    unseen: tuple[str, ...] = ()
    """Attacks that something around the sandbox refused before the supervisor could see them."""
    problem: str = ""
    """Why it reached no level, or not its best one."""

    @property
    def stopped(self) -> int:
        """How many attacks were stopped."""
        return sum(self.attacks.values())


@dataclass(frozen=True, slots=True)
class Extra:
    """An optional part of peft-assay."""

    name: str
    purpose: str
    versions: Mapping[str, str]
    """Distribution -> version, of those that are installed."""
    absent: tuple[str, ...]
    """Distributions that are not installed."""
    install: str
    """The line that installs it."""


@dataclass(frozen=True, slots=True)
class TriedBase:
    """A base loaded in the sandbox, and the reference adapter exercised on it."""

    folder: str
    parameters: int
    state: str
    """Base state digest."""
    problem: str = ""
    """Why it cannot be exercised here; empty where it can."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that `doctor` says."""

    level: IsolationLevel
    """What `certify` would reach, shown by attacks that were really run."""
    backend: str | None
    """Whose walls those are; None where no level is reached."""
    layers: tuple[Layer, ...]
    walls: tuple[TriedWalls, ...]
    extras: tuple[Extra, ...]
    next_step: str
    """The one command that would raise the level; empty where nothing on this host would."""
    base: TriedBase | None = None
    """None where no base was named."""
    warnings: tuple[str, ...] = field(default=())
    """What does not lower the level but should be known."""

    @property
    def door(self) -> Door:
        """Whether adapters can be observed here at all."""
        broken = self.base is not None and bool(self.base.problem)
        return Door.UNOBSERVED if broken or self.level < IsolationLevel.PROCESS else Door.PASSED
