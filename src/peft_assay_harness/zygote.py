"""The worker: prepares once, then forks one confined child for each job that the supervisor sends.

Jobs are serial, and the worker itself never reads an adapter or an answer. A *fresh* worker forks before it prepares:
its one child loads the base itself and serves one job, so that nothing was ever shared with another job, and a library
that does not survive a fork (a GPU's) is initialised after it.

Control socket (SOCK_SEQPACKET, JSON): the supervisor sends the set-up, the worker answers with a greeting or with why
it refuses; then for each job a message with descriptors (request pipe, response pipe, one sealed memory file for each
file of the adapter), answered by the child with its seccomp listener and by the worker with how the child ended.
"""

import argparse
import contextlib
import gc
import json
import os
import select
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peft_assay_harness.confine import (
    ChildLimits,
    Confinement,
    bound_child,
    confine_child,
    confine_device_worker,
    confinement_of,
    landlock_abi,
    protect_worker,
    restrict_reads,
    single_threaded,
)
from peft_assay_harness.frames import read_exactly, write_all
from peft_assay_harness.identity import Refused, check_identity
from peft_assay_harness.listed import import_from_list
from peft_assay_harness.tasks import CAUSAL, TASKS

PROTOCOL = 2
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
    reference: Files | None = None
    """The program's own reference adapter, with which it is asked now and then whether it still answers as before."""


Prepare = Callable[[argparse.Namespace], Prepared]


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that is ready: what each of its children needs."""

    control: socket.socket
    confinement: Confinement | None
    """None only where the supervisor asked for a sandbox without walls."""
    prepared: Prepared
    devices: bool = False
    """Whether a library holds open descriptors of a device, which a child needs."""


def run(prepare: Prepare, arguments: Sequence[str] | None = None) -> int:
    """Runs a worker until the supervisor closes the control socket; returns the exit status."""
    options = _options(arguments)
    control = socket.socket(fileno=options.control)
    protect_worker()
    message = control.recv(MAX_MESSAGE)
    if not message or _hung_up(control):
        return 0  # the supervisor died before this process could ask to die with it
    setup = json.loads(message)
    if options.fresh:
        return _run_fresh(control, options, setup, prepare)
    worker = _get_ready(control, options, setup, prepare)
    if worker is None:
        return 1
    gc.collect()
    gc.freeze()  # keeps the collector from touching, and so copying, pages shared with children
    _greet(worker, {"forks": single_threaded(), **worker.prepared.greeting})
    while _one_job(worker):
        pass
    return 0


def _hung_up(control: socket.socket) -> bool:
    """Whether nobody holds the other end any more, whatever was sent before."""
    poller = select.poll()
    poller.register(control, 0)  # POLLHUP is told unasked
    return bool(poller.poll(0))


def _run_fresh(control: socket.socket, options: argparse.Namespace, setup: Mapping[str, Any], prepare: Prepare) -> int:
    child = os.fork()
    if child == 0:
        protect_worker()
        if _hung_up(control):
            os._exit(0)
        worker = _get_ready(control, options, setup, prepare)
        if worker is None:
            os._exit(1)
        _greet(worker, {"forks": True, **worker.prepared.greeting})
        message, descriptors, _, _ = socket.recv_fds(control, MAX_MESSAGE, 16)
        if not message:
            os._exit(0)
        _be_child(worker, json.loads(message), descriptors)
    _await_child(control, child)
    return 0


def _get_ready(
    control: socket.socket, options: argparse.Namespace, setup: Mapping[str, Any], prepare: Prepare
) -> Worker | None:
    """A worker that may greet, or None when it refused, which it said."""
    try:
        check_identity(setup["identity"], setup["folders"])
        import_from_list(setup["modules"], setup["versions"])
        confinement = confinement_of(setup)
        if options.confine_worker:
            restrict_reads(
                (*confinement.readable, "/proc", "/dev", "/sys"), (os.devnull, *setup["devices"]), (options.base,)
            )
            tempfile.tempdir = "/"  # torch asks where it is while it is imported, and nothing is writable
        options.before_device = lambda: confine_device_worker(confinement.readable, setup["devices"], (options.base,))
        prepared = prepare(options)
    except Refused as refusal:
        control.send(json.dumps({"refused": str(refusal)}).encode())
        return None
    return Worker(control, None if options.unconfined else confinement, prepared, devices=bool(setup["devices"]))


def _greet(worker: Worker, facts: Mapping[str, Any]) -> None:
    greeting = {"protocol": PROTOCOL, "landlock": 0 if worker.confinement is None else landlock_abi(), **facts}
    worker.control.send(json.dumps(greeting).encode())


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="peft_assay_harness")
    parser.add_argument("--control", type=int, required=True, help="descriptor of the control socket")
    parser.add_argument("--base", required=True, help="folder of the base model")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cpu", help="what torch computes on")
    parser.add_argument("--task", default=CAUSAL, choices=sorted(TASKS), help="what kind of base it is")
    parser.add_argument("--confine-worker", action="store_true", help="Landlock for the worker itself, too")
    parser.add_argument("--unconfined", action="store_true", help="no walls around children: development only")
    parser.add_argument("--fresh", action="store_true", help="one job, in a process that loads the base itself")
    return parser.parse_args(arguments)


def _one_job(worker: Worker) -> bool:
    message, descriptors, _, _ = socket.recv_fds(worker.control, MAX_MESSAGE, 16)
    if not message:
        return False
    order = json.loads(message)
    if not single_threaded():
        sys.exit("the worker has several threads: a forked child would not be sound")
    child = os.fork()
    if child == 0:
        _be_child(worker, order, descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    _await_child(worker.control, child)
    return True


def _await_child(control: socket.socket, child: int) -> None:
    _, status, usage = os.wait4(child, 0)
    ended = {"status": os.waitstatus_to_exitcode(status), "cpu": usage.ru_utime + usage.ru_stime}
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        control.send(json.dumps({"ended": ended}).encode())


def _be_child(worker: Worker, order: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    status = EXIT_FAILED
    try:
        if not worker.devices:
            _close_all_but({0, 1, 2, worker.control.fileno(), *descriptors})
        limits = ChildLimits(order["cpuSeconds"], order["memoryBytes"])
        if worker.confinement is None:
            bound_child(worker.control, limits)
        else:
            confine_child(worker.control, worker.confinement, limits)
        worker.prepared.serve(_job(order, descriptors, worker.prepared.reference))
        status = 0
    except MemoryError:
        status = EXIT_MEMORY
    except BaseException as error:  # noqa: BLE001 - the child must end here, whatever happened
        status = EXIT_MEMORY if is_memory_error(error) else EXIT_FAILED
        _tell(error)
    finally:
        os._exit(status)


def _job(order: Mapping[str, Any], descriptors: Sequence[int], reference: Files | None) -> Job:
    request, response, *sealed = descriptors
    if order["files"] is None:
        return Job(request, response, reference if order["reference"] else None)
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
