"""The worker: prepares once, then forks one confined child for each job that the supervisor sends.

Control socket (SOCK_SEQPACKET, JSON): the supervisor sends the set-up, the worker answers with a greeting or with why
it refuses; then for each job a message with descriptors (request pipe, response pipe, one sealed memory file for each
file of the adapter), answered by the child with its seccomp listener and by the worker with how the child ended.
"""

import argparse
import contextlib
import gc
import json
import os
import socket
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peft_assay_harness.confine import (
    ChildLimits,
    Confinement,
    confine_child,
    confinement_of,
    landlock_abi,
    protect_worker,
    restrict_reads,
)
from peft_assay_harness.frames import read_exactly, write_all
from peft_assay_harness.identity import Refused, check_identity

PROTOCOL = 1
EXIT_FAILED, EXIT_MEMORY = 4, 3
MAX_MESSAGE = 1 << 20

Files = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Job:
    """What a child has to work with: its two pipes and, unless it exercises the base, the adapter's files."""

    request: int
    response: int
    files: Files | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a harness program made ready before the first fork."""

    greeting: Mapping[str, Any]
    serve: Callable[[Job], None]


Prepare = Callable[[argparse.Namespace], Prepared]


def run(prepare: Prepare, arguments: Sequence[str] | None = None) -> int:
    """Runs a worker until the supervisor closes the control socket; returns the exit status."""
    options = _options(arguments)
    control = socket.socket(fileno=options.control)
    protect_worker()
    setup = json.loads(control.recv(MAX_MESSAGE))
    try:
        check_identity(setup["identity"], setup["folders"])
        if options.confine_worker:
            restrict_reads((*setup["readable"], "/proc", "/dev", "/sys"))
            tempfile.tempdir = "/"  # torch asks where it is while it is imported, and nothing is writable
        prepared = prepare(options)
    except Refused as refusal:
        control.send(json.dumps({"refused": str(refusal)}).encode())
        return 1
    gc.collect()
    gc.freeze()  # keeps the collector from touching, and so copying, pages shared with children
    greeting = {"protocol": PROTOCOL, "landlock": landlock_abi(), **prepared.greeting}
    control.send(json.dumps(greeting).encode())
    confinement = confinement_of(setup)
    while _one_job(control, confinement, prepared.serve):
        pass
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="peft_assay_harness")
    parser.add_argument("--control", type=int, required=True, help="descriptor of the control socket")
    parser.add_argument("--base", required=True, help="folder of the base model")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--confine-worker", action="store_true", help="Landlock for the worker itself, too")
    return parser.parse_args(arguments)


def _one_job(control: socket.socket, confinement: Confinement, serve: Callable[[Job], None]) -> bool:
    message, descriptors, _, _ = socket.recv_fds(control, MAX_MESSAGE, 16)
    if not message:
        return False
    order = json.loads(message)
    child = os.fork()
    if child == 0:
        _be_child(control, confinement, order, descriptors, serve)
    for descriptor in descriptors:
        os.close(descriptor)
    _, status, usage = os.wait4(child, 0)
    ended = {"status": os.waitstatus_to_exitcode(status), "cpu": usage.ru_utime + usage.ru_stime}
    control.send(json.dumps({"ended": ended}).encode())
    return True


def _be_child(
    control: socket.socket,
    confinement: Confinement,
    order: Mapping[str, Any],
    descriptors: Sequence[int],
    serve: Callable[[Job], None],
) -> None:
    status = EXIT_FAILED
    try:
        _close_all_but({0, 1, 2, control.fileno(), *descriptors})
        confine_child(control, confinement, ChildLimits(order["cpuSeconds"], order["memoryBytes"]))
        serve(_job(order, descriptors))
        status = 0
    except MemoryError:
        status = EXIT_MEMORY
    except BaseException as error:  # noqa: BLE001 - the child must end here, whatever happened
        status = EXIT_MEMORY if is_memory_error(error) else EXIT_FAILED
        _tell(error)
    finally:
        os._exit(status)


def _job(order: Mapping[str, Any], descriptors: Sequence[int]) -> Job:
    request, response, *sealed = descriptors
    if order["files"] is None:
        return Job(request, response, None)
    files = {}
    for (name, size), descriptor in zip(order["files"], sealed, strict=True):
        files[name] = read_exactly(descriptor, size)
        os.close(descriptor)
    return Job(request, response, files)


def is_memory_error(error: BaseException) -> bool:
    """Whether an allocation failed: torch says so in a RuntimeError."""
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


def _tell(error: BaseException) -> None:
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = f"{type(error).__name__}: {error} ({where.name}, line {where.lineno})"
    with contextlib.suppress(OSError):
        write_all(2, " ".join(text.split())[:2000].encode("utf-8", "backslashreplace") + b"\n")


def _close_all_but(kept: set[int]) -> None:
    start = 0
    for descriptor in sorted(kept):
        if start < descriptor:  # an empty range from 0 would close everything
            os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, 1 << 16)
