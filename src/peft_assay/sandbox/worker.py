"""One worker process behind a backend's walls: started, greeted, given jobs, ended."""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from peft_assay.core.digest import Digest
from peft_assay.core.errors import ObservationError
from peft_assay.core.wire import PROTOCOL
from peft_assay.sandbox.cgroups import MEMORY_SLACK, WORKER_BOUNDS, Bounds, Group, Place
from peft_assay.sandbox.devices import CPU
from peft_assay.sandbox.filters import compile_filters
from peft_assay.sandbox.interface import Backend, Mounts, Program, SandboxConfiguration
from peft_assay.sandbox.surroundings import identity, interpreter

MAX_MESSAGE = 1 << 16
MAX_DIAGNOSTICS = 4096
STOP_SECONDS = 0.5
"""Until a process that was told to stop has stopped; one in the middle of a system call takes a moment."""
INSIDE = "inside the sandbox"
OF_THE_BASE = "the base "
"""How what the worker says of a base begins: its walls have no part in it."""
UNLIKE = "have Python and peft-assay in a folder that is readable to every user, such as below /usr or /opt"
"""The usual reason: the sandbox's user cannot reach the interpreter and got another one."""


class Greeting(BaseModel):
    """What a worker says once it is ready."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    protocol: int
    landlock: int
    """ABI version of Landlock in this kernel, 0 for none."""
    state: str | None = None
    parameters: int = 0
    vocabulary: int = Field(0, ge=0, lt=1 << 31)
    places: int = Field(0, ge=0, lt=1 << 31)
    labels: int = Field(0, ge=0, lt=1 << 31)
    """Sizes of the base, by which replies are bounded (`sandbox.possible`); 0 where the worker does not state one."""
    stack: dict[str, str] = {}
    forks: bool = True
    """Whether forked children work: one thread, and the canary came back."""
    sentinel: bool = False
    """Whether it answers the harness protocol for its own reference adapter."""
    answeredOutside: list[str] = []
    """System calls that a filter around all of this refuses, before ours could see them."""


class Worker:
    """A running worker. It has not met any adapter; the children that it forks for jobs have."""

    def __init__(
        self,
        backend: Backend,
        program: Program,
        mounts: Mounts,
        configuration: SandboxConfiguration,
        *,
        place: Place | None = None,
        bounds: Bounds = WORKER_BOUNDS,
        fresh: bool = False,
        started: "Callable[[Worker], None]" = lambda _: None,
    ) -> None:
        """Waits until the worker greets; `started` is called before that with what may be interrupted meanwhile."""
        self.backend = backend
        self.fresh = fresh
        """It serves one job, in a process that loads the base itself."""
        self.diagnostics = bytearray()
        self._start_seconds = configuration.start_seconds
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        errors, their_errors = os.pipe()
        self.errors = errors
        try:
            command = backend.command(worker_arguments(program, configuration, theirs.fileno(), fresh=fresh), mounts)
            self.group = None if place is None else Group(place, bounds)
            self._process = subprocess.Popen(
                command.arguments if self.group is None else self.group.join(command.arguments),
                env=dict(command.environment),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=their_errors,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except (OSError, ObservationError) as error:
            self.kill()
            raise ObservationError(f"the sandbox could not be started: {error}") from error
        finally:
            theirs.close()
            os.close(their_errors)
        try:
            started(self)
            self.greeting = self._greet(setup_message(program, mounts))
            self._bound_memory(configuration.limits.memory_bytes, bounds)
        except BaseException:
            self.kill()
            raise

    _process: "subprocess.Popen[bytes] | None" = None
    group: Group | None = None

    def interrupt(self) -> None:
        """Ends the processes, and leaves it to the worker's own thread to find that out and to clear up."""
        process = self._process
        if process is not None and process.poll() is None:
            self._end(process.pid)
        with contextlib.suppress(OSError):  # whoever is left of them has nobody to talk to
            self.control.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        """Ends the worker and all its children: by namespace, or because they die with their parent."""
        if self._process is not None:
            self._end(self._process.pid)
            self._process.wait()
            self._process = None
        if self.errors >= 0:
            self.control.close()
            os.close(self.errors)
            self.errors = -1
        if self.group is not None:
            self.group.close()
            self.group = None

    def _end(self, process: int) -> None:
        """Ends the process's group; before the worker has greeted also its children, who may have left the group.

        Bubblewrap's child begins a session of its own a moment before it asks to die with its parent.
        """
        with contextlib.suppress(ProcessLookupError):
            children = [] if hasattr(self, "greeting") else stopped_with_children(process)
            os.killpg(process, signal.SIGKILL)
            for child in children:
                os.kill(child, signal.SIGKILL)

    def killed_for_memory(self) -> bool:
        """Whether the kernel ended any process of this worker because its group had no memory left."""
        return self.group is not None and self.group.counters().killed_for_memory > 0

    def last_words(self) -> str:
        """The last line that worker or child wrote to its error stream (hostile text, one line)."""
        lines = self.diagnostics.decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def read_errors(self) -> int:
        """Takes what there is on the error stream; gives the number of bytes."""
        piece = os.read(self.errors, 1 << 16)
        self.diagnostics += piece
        del self.diagnostics[:-MAX_DIAGNOSTICS]
        return len(piece)

    def remaining_errors(self) -> int:
        """Takes all that a child which has ended left on the error stream; gives the number of bytes."""
        poller = select.poll()
        poller.register(self.errors, select.POLLIN)
        taken = 0
        while poller.poll(0) and (piece := self.read_errors()):
            taken += piece
        return taken

    def forget_errors(self) -> None:
        """Before a job: what an earlier one wrote must neither count against it nor be quoted as its own words."""
        self.remaining_errors()
        self.diagnostics.clear()

    def _greet(self, setup: bytes) -> Greeting:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.control.send(setup)
        message = self._first_message(time.monotonic() + self._start_seconds)
        value: Any = json.loads(message) if message else {"ended": None}
        if isinstance(value, dict) and set(value) == {"ended"}:  # a fresh process, which the worker waits for
            self.remaining_errors()
            said = f": {self.last_words()}" if self.last_words() else ""
            raise ObservationError(f"the {self.backend.name} sandbox ended before it was ready{said}")
        if isinstance(value, dict) and "refused" in value:
            refusal = str(value["refused"])
            raise _refused(refusal)
        try:
            greeting = Greeting.model_validate(value)
        except ValidationError as error:
            raise ObservationError("the sandbox greeted with something unknown") from error
        if greeting.protocol != PROTOCOL:
            raise ObservationError(f"the sandbox speaks protocol {greeting.protocol}, not {PROTOCOL}")
        return greeting

    def _bound_memory(self, job_bytes: int, bounds: Bounds) -> None:
        """What the loaded base takes, and a job's limit: no limit of a process counts copies of the base's pages."""
        if self.group is None or bounds.memory_bytes is not None:
            return
        try:
            self.group.bound_memory(self.group.memory_in_use() + job_bytes + MEMORY_SLACK)
        except OSError as error:
            raise ObservationError(f"the worker's memory could not be bounded: {error.strerror}") from error

    def _first_message(self, deadline: float) -> bytes:
        poller = select.poll()
        poller.register(self.control, select.POLLIN)
        poller.register(self.errors, select.POLLIN)
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise ObservationError(f"the sandbox was not ready after {self._start_seconds:.0f} s")
            ready = dict(poller.poll(remaining * 1000))
            if self.errors in ready and not self.read_errors():
                poller.unregister(self.errors)
            if self.control.fileno() in ready:
                try:
                    return self.control.recv(MAX_MESSAGE)
                except ConnectionResetError:
                    return b""


def stopped_with_children(process: int) -> list[int]:
    """Stops `process`, so that it makes no more children, and names those that it has (proc(5), children).

    Raises ProcessLookupError where there is no such process.
    """
    os.kill(process, signal.SIGSTOP)
    proc = Path(f"/proc/{process}")
    deadline = time.monotonic() + STOP_SECONDS
    with contextlib.suppress(OSError):
        while time.monotonic() < deadline and proc.joinpath("stat").read_text().rpartition(")")[2].split()[0] in "RSD":
            time.sleep(0.001)
        return [int(child) for child in proc.joinpath("task", str(process), "children").read_text().split()]
    return []


def worker_arguments(
    program: Program, configuration: SandboxConfiguration, control: object, *, fresh: bool = False
) -> tuple[str, ...]:
    """Return the worker's command line. ``-S``: no environment's set-up is read, ``-P``: nor the folder it
    starts in.
    """
    worker = (str(interpreter()), "-s", "-S", "-P", "-m", program.module, "--control", str(control))
    about = ("--base", str(configuration.base.absolute()), "--dtype", configuration.dtype, "--task", configuration.task)
    device = () if configuration.device.name == CPU else ("--device", configuration.device.name)
    return (*worker, *about, *device, *(("--fresh",) if fresh else ()))


def setup_message(program: Program, mounts: Mounts) -> bytes:
    """What the worker must find itself to be, and what it must do to its children."""
    filters = compile_filters(devices=bool(mounts.devices))
    setup: Mapping[str, Any] = {
        "identity": identity(program),
        "folders": [str(folder) for folder in program.folders],
        "readable": [str(path) for path in mounts.folders],
        "hidden": [str(path) for path in mounts.hidden],
        "modules": {name: str(path) for name, path in mounts.modules.items()},
        "versions": dict(mounts.versions),
        "devices": [str(device) for device in mounts.devices],
        "policy": filters.policy.hex(),
        "seal": filters.seal.hex(),
        "seccomp": filters.seccomp,
    }
    return json.dumps(setup).encode()


def harness_digest(program: Program) -> Digest:
    """Digest of the files that run inside."""
    return Digest(identity(program)["harness"])


def _refused(refusal: str) -> ObservationError:
    """Return the error for what a worker said in place of a greeting: of its base, or of its surroundings."""
    if not refusal.startswith(OF_THE_BASE):
        step = UNLIKE if INSIDE in refusal else None
        return ObservationError(f"the sandbox refuses: {refusal}", next_step=step)
    if "readable to others" in refusal:
        step = "let every user read its files and enter its folders (chmod -R a+rX), then run again"
    elif "would be random" in refusal:
        step = "declare the kind of model that it was saved as under context.base.task, or fetch all of its weights"
    else:
        step = (
            "load it outside first (from_pretrained with trust_remote_code=False and use_safetensors=True) to see the "
            "whole error; then correct context.base in peft-assay.yaml and run: peft-assay certify --plan"
        )
    return ObservationError(refusal, next_step=step)
