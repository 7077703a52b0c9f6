"""``python -m peft_assay_harness.attacks``: a worker whose children try to break out, to show whether the walls hold.

It starts through the same launcher, with the same filters and limits, as the worker that exercises adapters, and is
another program than that one, so that no adapter ever runs beside this code. Each attack is harmless where it
succeeds: it looks, signals 0, or ends the process that it made.
"""

import argparse
import contextlib
import ctypes
import encodings.idna  # noqa: F401 - what connecting imports when it is first used
import errno
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from peft_assay_harness.confine import CAPABILITY_VERSION
from peft_assay_harness.frames import read_frame, write_frame
from peft_assay_harness.zygote import Job, Prepared, run

CLONE_NEWUSER = 0x10000000
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
IO_URING_SETUP = 425  # the same on every architecture since numbers were unified (Linux 5.1)

Arguments = Mapping[str, Any]


def read_host_file(arguments: Arguments) -> str:
    """Reads a file of the host that nobody gave to the sandbox."""
    return Path(arguments["path"]).read_text("utf-8")


def read_unlisted_file(_: Arguments) -> str:
    """Reads what is there for everybody inside, but not on the list of what a child may read (Landlock)."""
    os.close(os.open(os.devnull, os.O_RDONLY))
    return "opened"


def read_private_files(arguments: Arguments) -> str:
    """Read files of the project and of the host: documents, expected answers, workspace, keys, homes."""
    return _first_read(arguments["private"])


def read_beside_libraries(arguments: Arguments) -> str:
    """Read files beside interpreter and libraries: installers' configuration, hooks, records of origin."""
    return _first_read(arguments["beside"])


def _first_read(paths: Sequence[str]) -> str:
    """Return the first of `paths` that can be read, be it a file or the names in a folder; raises OSError for none."""
    for path in paths:
        with contextlib.suppress(OSError):
            if os.path.isdir(path):  # noqa: PTH112 - as an attacker would
                if os.listdir(path):  # noqa: PTH208
                    return f"listed {path}"
                continue
            with open(path, "rb") as file:  # noqa: PTH123
                file.read(1)
            return f"read {path}"
    raise PermissionError(f"none of {len(paths)} can be read")


def write_host_file(arguments: Arguments) -> str:
    """Writes into a folder of the host that everybody may write to."""
    Path(arguments["folder"], "breach").write_text("written from inside", "utf-8")
    return "written"


def leave_file(_: Arguments) -> str:
    """Leaves something for the next job where the worker itself could write."""
    Path("/tmp/left").touch()  # noqa: S108 - the attack itself
    return "left"


def connect(arguments: Arguments) -> str:
    """Connects to a live TCP listener of the supervisor."""
    with socket.create_connection(("127.0.0.1", arguments["port"]), timeout=2):
        return "connected"


def signal_worker(_: Arguments) -> str:
    """Signals the worker that forked this child."""
    os.kill(os.getppid(), 0)
    return "signalled"


def worker_memory(_: Arguments) -> str:
    """Opens the worker's memory for writing: with it, all later jobs would be the attacker's."""
    os.close(os.open(f"/proc/{os.getppid()}/mem", os.O_RDWR))
    return "opened"


def trace_worker(_: Arguments) -> str:
    """Attaches to the worker as a debugger."""
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.ptrace(PTRACE_ATTACH, os.getppid(), 0, 0))
    libc.ptrace(PTRACE_DETACH, os.getppid(), 0, 0)
    return "attached"


def new_namespace(_: Arguments) -> str:
    """Makes a user namespace, the door to most kernel interfaces."""
    _check(ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER))
    return "made"


def io_uring(_: Arguments) -> str:
    """Sets up io_uring, through which system calls escape filters."""
    parameters = ctypes.create_string_buffer(256)
    _check(ctypes.CDLL(None, use_errno=True).syscall(IO_URING_SETUP, 8, parameters))
    return "set up"


def see_host_process(arguments: Arguments) -> str:
    """Looks for the supervisor among the processes."""
    Path(f"/proc/{arguments['pid']}").stat()
    return "seen"


def run_as_root(_: Arguments) -> str:
    """Is the superuser, for whom process limits do not count, or has any of its capabilities."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()
    _check(ctypes.CDLL(None, use_errno=True).capget(ctypes.byref(header), ctypes.byref(sets)))
    if os.geteuid() != 0 and not any(sets):
        raise PermissionError("no privileges")
    return f"user {os.geteuid()}, capabilities {list(sets)}"


def exceed_memory(arguments: Arguments) -> str:
    """Takes more memory than the job is allowed."""
    return f"{len(bytearray(arguments['bytes']))} bytes taken"


def fork(_: Arguments) -> str:
    """Makes another process, which could outlive the job."""
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    return "forked"


def execute(_: Arguments) -> str:
    """Becomes another program."""
    os.execv("/bin/true", ["true"])  # noqa: S606 - the attack itself


ATTACKS: Mapping[str, Callable[[Arguments], str]] = {
    "read-host-file": read_host_file,
    "read-unlisted-file": read_unlisted_file,
    "read-private-files": read_private_files,
    "read-beside-libraries": read_beside_libraries,
    "write-host-file": write_host_file,
    "leave-file": leave_file,
    "connect": connect,
    "signal-worker": signal_worker,
    "worker-memory": worker_memory,
    "trace-worker": trace_worker,
    "new-namespace": new_namespace,
    "io-uring": io_uring,
    "see-host-process": see_host_process,
    "run-as-root": run_as_root,
    "exceed-memory": exceed_memory,
    "fork": fork,
    "execute": execute,
}


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")


def _attack(request: Arguments) -> dict[str, Any]:
    try:
        detail = ATTACKS[request["name"]](request)
    except (OSError, MemoryError) as error:
        return {"op": "attack", "succeeded": False, "detail": f"{type(error).__name__}: {error}"}
    return {"op": "attack", "succeeded": True, "detail": detail}


def _serve(job: Job) -> None:
    while (request := read_frame(job.request)) is not None:
        write_frame(job.response, _attack(request))


def answered_outside() -> list[str]:
    """System calls that are refused even with arguments that make no sense, before any filter of ours is installed.

    The kernel itself would complain about the arguments, so a filter around all of this answers first, as a container
    runtime's does; it wins over ours, and attempts cannot be seen (seccomp(2), precedence of actions).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    nobody = (1 << 31) - 1
    trials: Mapping[str, Callable[[], int]] = {
        "unshare": lambda: libc.unshare(ctypes.c_int(-1)),
        "ptrace": lambda: libc.ptrace(PTRACE_ATTACH, nobody, 0, 0),
        "io_uring_setup": lambda: libc.syscall(IO_URING_SETUP, 0, 0),
    }
    refusals = (errno.EPERM, errno.EACCES, errno.ENOSYS)
    return [name for name, call in trials.items() if call() < 0 and ctypes.get_errno() in refusals]


def prepare(_: argparse.Namespace) -> Prepared:
    """Nothing to load: what is tried are the walls, not the base."""
    return Prepared({"answeredOutside": answered_outside()}, _serve)


if __name__ == "__main__":
    sys.exit(run(prepare))
