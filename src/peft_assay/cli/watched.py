"""A command in a process of its own, watched by this one, because what it looks at was made by somebody else.

Readers have caps of their own; this is the wall behind them. A process that takes too much memory or time, or that some
library ends, is ended or gone, and this one says which source it was looking at. Nothing that it knew is lost: the
command runs again, and refuses that source at once.

Not by RLIMIT_DATA within one process: there a library of Rust that misses 512 bytes waits for itself for ever.
"""

import os
import resource
import select
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from peft_assay.cli import output
from peft_assay.cli.options import Format
from peft_assay.core.errors import Door, IntakeError
from peft_assay.intake.admit import parted

MEMORY = 512 << 20
"""Bytes beyond what the interpreter has when it begins; docs/threat-model.md states this and the next two."""
SECONDS = 30
"""Of CPU, for a source of up to `FREE_BYTES`."""
FREE_BYTES = 64 << 20
BYTES_PER_SECOND = 2 << 20
"""One second more for each of these beyond."""
INTERVAL = 0.02
"""Seconds between two looks at the memory."""
MAX_COUNTED = 10_000
"""Files of a folder whose sizes are added up; intake refuses more than that anyway."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_PASSED_ON = (signal.SIGINT, signal.SIGTERM)
_WANTED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A process that these ended was ended by somebody, and not by what it looked at."""
_refused: dict[str, str] = {}
"""Sources that ended a process, and why; a forked process inherits it."""
_channel: list[int] = []
"""Where a watched process says what it is looking at; empty in one that nobody watches."""


@contextmanager
def looking(named: str, source: Path) -> Iterator[None]:
    """Tells whoever watches that what is done within is about `named`, which lies at `source`.

    Raises IntakeError where it has ended a process before.
    """
    if named in _refused:
        raise _refusal(named, _refused[named])
    if not _channel:
        yield
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    before = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = int(used.ru_utime + used.ru_stime) + 1 + _seconds(source)
    lowest = min((wanted, *(limit for limit in before if limit != resource.RLIM_INFINITY)))
    os.write(_channel[0], os.fsencode(named)[:4_000] + b"\0")
    resource.setrlimit(resource.RLIMIT_CPU, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, before)


def watched(run: Callable[[Sequence[str]], int], arguments: Sequence[str], output_format: Format) -> int:
    """`run(arguments)` in a process of its own; gives its exit code, there and here."""
    while True:
        reading, writing = os.pipe()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)  # until there is somebody to pass them on to
        child = os.fork()
        if child == 0:
            os.close(reading)
            _channel[:] = [writing]
            signal.signal(signal.SIGINT, _interrupt_once)
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            return run(arguments)
        os.close(writing)
        with _passing_on(child):
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            code, too_large, named = _watch(child, reading)
        os.close(reading)
        if code >= 0:
            return code
        if -code in _WANTED:
            signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        why = _why(-code, too_large=too_large)
        if not named or named in _refused:
            output.problem(_refusal(named or arguments[-1], why), output_format)
            return int(Door.REFUSED)
        _refused[named] = why


@contextmanager
def _passing_on(child: int) -> Iterator[None]:
    """What asks this process to end asks `child` instead."""
    before = {kind: signal.signal(kind, lambda kind, _: os.kill(child, kind)) for kind in _PASSED_ON}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _interrupt_once(*_: object) -> None:
    """Ctrl-C reaches this process twice: from the terminal and from the one that watches."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _watch(child: int, reading: int) -> tuple[int, bool, str]:
    """How `child` ended (as `os.waitstatus_to_exitcode`), whether it was too large, and what it looked at last."""
    said, allowed, too_large = b"", (_memory(child) or 0) + MEMORY, False
    while True:
        if select.select([reading], [], [], INTERVAL)[0]:
            heard = os.read(reading, 1 << 16)
            if not heard:
                break
            said = (said + heard)[-8_192:]
        elif (_memory(child) or 0) > allowed:
            too_large = True
            os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, too_large, os.fsdecode(said.rstrip(b"\0").rpartition(b"\0")[2])


def _memory(process: int) -> int | None:
    """Resident bytes of `process`; None where the system does not say (it is then watched for time alone)."""
    with suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{process}/statm").read_text("ascii").split()[1]) * _PAGE
    return None


def _why(number: int, *, too_large: bool) -> str:
    if too_large:
        return f"over the limit: looking at it takes more than {MEMORY >> 20} MB of memory"
    if number == signal.SIGXCPU:
        return f"over the limit: looking at it takes more than {SECONDS} CPU-seconds for {FREE_BYTES >> 20} MB"
    return f"the process that looked at it was ended by {signal.Signals(number).name}"


def _refusal(named: str, why: str) -> IntakeError:
    next_step = "name a folder that holds one adapter only; where it does, do not use it: ask its publisher what it is"
    return IntakeError(why, where=named, next_step=next_step)


def _seconds(source: Path) -> int:
    """CPU-seconds that looking at `source` may take."""
    source, _ = parted(source)
    size, unread, left = 0, [source], MAX_COUNTED
    with suppress(OSError, ValueError):
        if source.is_file():
            size, unread = source.stat().st_size, []
        while unread and left > 0:
            for entry in os.scandir(unread.pop()):
                left -= 1
                if entry.is_dir(follow_symlinks=False):
                    unread.append(Path(entry.path))
                elif entry.is_file():
                    size += entry.stat().st_size
    return SECONDS + max(0, size - FREE_BYTES) // BYTES_PER_SECOND
