"""The error tree and its doors.

Every error a user can meet knows what is wrong (`message`), where (`where`: a file, a field, a case) and the one next
step (`next_step`). Doors (exit codes, later HTTP states) are properties of the class, in one table::

    AssayError                1   a bug, if nothing more precise applies
      UsageError              2   the command was called wrongly
      DocumentError           2   a document somebody wrote is malformed
      IntakeError             3   the source cannot become an artifact
      ObservationError        4   the sandbox or the harness could not observe
      Unsatisfiable          10   in this context no adapter can pass the policy; nothing was run
      TrustError             11   signature, key, ledger, rolled-back evidence
      ActivationDenied       12   the gate says no
      StorageError           74   the disk, the database, the file system
"""

from collections.abc import Iterable
from enum import IntEnum


class Door(IntEnum):
    """Exit codes of the command line; docs/reference/exit-codes.md is generated from this table."""

    PASSED = 0
    BUG = 1
    USAGE = 2
    REFUSED = 3
    UNOBSERVED = 4
    FAILED = 10
    TRUST = 11
    DENIED = 12
    INDETERMINATE = 13
    STORAGE = 74
    INTERRUPTED = 130


DOOR_MEANINGS: dict[Door, str] = {
    Door.PASSED: "admitted / valid",
    Door.BUG: "a bug in peft-assay: please report it",
    Door.USAGE: "wrong usage, or a malformed document",
    Door.REFUSED: "intake refused the source: it cannot become an artifact",
    Door.UNOBSERVED: "the adapter could not be observed (sandbox or harness)",
    Door.FAILED: "the policy says FAIL",
    Door.TRUST: "trust: signature, key, ledger or rolled-back evidence",
    Door.DENIED: "the gate denies: absent, expired, revoked, other context, other bytes",
    Door.INDETERMINATE: "the policy cannot decide: evidence is missing",
    Door.STORAGE: "input/output error: disk full, unwritable workspace, broken database",
    Door.INTERRUPTED: "interrupted; the workspace is intact and the next run resumes",
}

# With several adapters one exit code must stand for all: the first of these that occurred.
DOOR_PRECEDENCE: tuple[Door, ...] = (
    Door.BUG,
    Door.STORAGE,
    Door.INTERRUPTED,
    Door.TRUST,
    Door.REFUSED,
    Door.UNOBSERVED,
    Door.FAILED,
    Door.DENIED,
    Door.INDETERMINATE,
)


def first_door(doors: Iterable[Door]) -> Door:
    """The door that stands for all of `doors`.

    An empty iterable means that nothing was examined, which never shares a code with "passed": `Door.USAGE`.
    """
    met = set(doors)
    if not met or Door.USAGE in met:
        return Door.USAGE
    return next((door for door in DOOR_PRECEDENCE if door in met), Door.PASSED)


TOLD = 300
"""Most characters of an unexpected error's message that are shown."""


class AssayError(Exception):
    """Base of all errors that peft-assay raises on purpose."""

    door = Door.BUG

    def __init__(self, message: str, *, where: str | None = None, next_step: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        """File, field path or case at fault, e.g. ``peft-assay.yaml: context.base``."""
        self.next_step = next_step
        """The one next command or action."""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


def told(error: BaseException) -> str:
    """Return one line about an unexpected error: its class, its message, and the place in the code."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" ({trace.tb_frame.f_code.co_name}, line {trace.tb_lineno})"
    words = " ".join(str(error)[:TOLD].split())
    return f"{type(error).__name__}: {words}{place}" if words else f"{type(error).__name__}{place}"


class UsageError(AssayError):
    """The command or function was called with arguments that cannot work."""

    door = Door.USAGE


class DocumentError(AssayError):
    """A document that somebody wrote (context, policy, suite, trust) is malformed."""

    door = Door.USAGE


class IntakeError(AssayError):
    """The source cannot become an artifact: unreadable, escaping, over limits, ambiguous."""

    door = Door.REFUSED


class ObservationError(AssayError):
    """The sandbox or the harness could not observe; nothing is known about the adapter."""

    door = Door.UNOBSERVED


class Unsatisfiable(AssayError):
    """No adapter can pass the policy in this context: known before anything ran."""

    door = Door.FAILED


class TrustError(AssayError):
    """A signature, key, ledger entry or piece of evidence cannot be trusted."""

    door = Door.TRUST


class ActivationDenied(AssayError):
    """The gate denies activation. `check` names the check that failed."""

    door = Door.DENIED

    def __init__(self, message: str, *, check: str, where: str | None = None, next_step: str | None = None) -> None:
        super().__init__(message, where=where, next_step=next_step)
        self.check = check

    def __str__(self) -> str:
        """Return check, message and next step: a traceback or a log shows nothing else of the error."""
        step = f"; next: {self.next_step}" if self.next_step else ""
        return f"[{self.check}] {super().__str__()}{step}"


class StorageError(AssayError):
    """Disk full, unwritable workspace, broken or newer database."""

    door = Door.STORAGE
