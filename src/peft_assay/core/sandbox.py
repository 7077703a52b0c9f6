"""What the rest of the system may know of a sandbox: levels, jobs, results, and the Protocol.

A job is a conversation: the supervisor asks, the sandboxed child answers, and the supervisor decides when to stop.
Expected answers stay outside. `Sandbox.run` never raises for anything that the artifact did.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Protocol

from peft_assay.core.errors import ObservationError


class IsolationLevel(IntEnum):
    """What start-up attacks showed, never what was requested (docs/concepts.md has the table)."""

    NONE = 0
    PROCESS = 10
    """Landlock + seccomp + rlimits, own uid: where user namespaces are denied."""
    NAMESPACE = 20
    """All namespaces besides."""
    NAMESPACE_CGROUP = 25
    """And bounds on memory and processes of all of it together (control groups)."""
    USER_KERNEL = 30
    VM = 40


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one job."""

    wall_seconds: float = 120.0
    cpu_seconds: int = 120
    memory_bytes: int = 1 << 30
    """Address space beyond what the warmed worker already had."""
    output_bytes: int = 16 << 20
    """The child is killed when it has written more than this."""


@dataclass(frozen=True, slots=True)
class Job:
    """One adapter (its exact verified bytes by file path), or None for the base alone."""

    adapter: Mapping[str, bytes] | None
    limits: Limits
    compartment: str = ""
    """Confidentiality of what will be asked: a worker never serves jobs of two compartments."""
    vocabulary: int | None = None
    """Tokens once the adapter is on, where its file resizes the base's vocabulary; replies may name no token beyond."""
    tokens: bytes = b""
    """Tokens that the adapter adds to the base's tokenizer, as the supervisor read them; empty for none."""
    fresh_process: bool = False
    """Start a new process for this job instead of forking the warmed one: for high assurance, and for sources whose
    adapters keep causing events."""


class Outcome(StrEnum):
    """How a job ended."""

    OK = "ok"
    CRASH = "crash"
    TIMEOUT = "timeout"
    LIMIT = "limit"
    OUTPUT_CAP = "outputCap"
    INVALID_OUTPUT = "invalidOutput"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the supervisor itself saw: a refused system call, a limit hit."""

    at_seconds: float
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What the job used, as the supervisor measured it."""

    wall_seconds: float
    cpu_seconds: float
    output_bytes: int
    peak_bytes: int | None = None
    """Largest resident memory of the child, the base that it shares with the worker included; None: not read."""


@dataclass(frozen=True, slots=True)
class Result:
    """How a job ended. Any event voids the behaviour results of its adapter."""

    outcome: Outcome
    events: tuple[Event, ...]
    usage: Usage
    detail: str
    """For other outcomes than OK: what happened, in one line (may quote hostile text)."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """Digests of what went in and came out, and which worker served it: canonical, see docs/reference/isolation.md."""


@dataclass(frozen=True, slots=True)
class Capability:
    """What a sandbox achieved at start-up, and what it lacks."""

    level: IsolationLevel
    attacks: Mapping[str, bool]
    """Start-up attack -> was it stopped?"""
    missing: tuple[str, ...]
    """What would raise the level, each with the command that does."""


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """What the worker that loaded the base says of it; the worker has not met any adapter."""

    state: str
    """Base state digest, ``sha256:...`` (docs/reference/base-state.md)."""
    parameters: int
    stack: Mapping[str, str]
    """Distribution -> version, and python, platform, threads: what numerics depend on."""


Ask = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Sends one request to the child and gives its reply, both as harness-protocol documents (core.wire).

Raises `ChildGone` when the child ended, was killed or answered out of schema; converse functions let it through.
"""


class ChildGone(Exception):
    """The conversation cannot go on; `Sandbox.run` turns it into a `Result`."""


class Unvouched(ObservationError):
    """Nobody can say any more that these results came from a worker that was what it had been: they are void.

    Which of the adapters changed it is not known, where it was one of them at all; asked one by one, it is.
    """


class Sandbox(Protocol):
    """A place where an adapter is exercised."""

    @property
    def at_once(self) -> int:
        """How many jobs can run at the same time; `run` may be called from as many threads, where that is over one."""

    def probe(self) -> Capability:
        """The level that the start-up attacks showed, run through the same launcher as jobs."""

    def expect(self, jobs: int) -> None:
        """So many jobs are about to come: whatever can be made ready for them may be, from now on."""

    def base(self) -> BaseFacts:
        """Facts of the base that the worker has loaded."""

    def attestation(self) -> Mapping[str, Any]:
        """What was in force, as a canonical document: level, attacks, digests of launcher, filters, mounts, harness."""

    def run(self, job: Job, converse: Callable[[Ask], None]) -> Result:
        """Runs one job: a fresh child, given only this adapter, questioned by `converse`."""

    def vouch(self) -> None:
        """Shows that what ran since the last call ran in workers that are what they were when they started.

        Nothing is signed and no answer kept before. Raises Unvouched where that cannot be shown: all regular results
        since the last call are void then. Costs one short job, whatever their number.
        """

    def close(self) -> None:
        """Ends all processes."""
