"""Several sandboxes at once, one for each core: each with a worker, a thread and sockets of its own.

Workers die with the thread that started them, so each thread lives as long as its sandbox. Jobs share nothing but the
walls' description and the page cache; each worker holds its own copy of the base. A sandbox is opened when a job meets
none that is free, so that a run of one adapter starts one worker, however large its pool may become; as many as are
likely to be needed (`expect`) start side by side.
"""

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import Ask, BaseFacts, Capability, Job, Result
from peft_assay.sandbox.cgroups import find_room
from peft_assay.sandbox.choose import Chosen
from peft_assay.sandbox.supervisor import Supervisor

Answer = TypeVar("Answer")
Facts = tuple[BaseFacts, str | None]
"""Of the base, and the digest of the reference adapter's answers."""

ROOM_BYTES = 2 << 30
"""What a worker may come to need besides its base: libraries, and a job."""


def cores() -> int:
    """How many workers can compute at once: the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def workers_that_fit(base: Path) -> int:
    """How many workers have a core and memory of their own, each with a copy of `base`; at least one.

    By what this process may use, and what the control groups leave that it is in: those of a container, for example.
    """
    weights = sum(path.stat().st_size for path in base.glob("*.safetensors"))
    room = find_room()
    memory, processors = available_bytes(), float(cores())
    if room.memory_bytes is not None:
        memory = min(memory, room.memory_bytes)
    if room.cpus is not None:
        processors = min(processors, room.cpus)
    return max(1, min(int(processors), memory // (weights + ROOM_BYTES)))


def available_bytes() -> int:
    """What this host can give without swapping (proc(5), MemAvailable)."""
    for line in Path("/proc/meminfo").read_text("ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            return int(value.split()[0]) * 1024
    return 0


class SandboxPool:
    """Implements `core.sandbox.Sandbox`, and takes jobs ahead of their turn with `submit`.

    `converse` is called in the sandbox's thread, one job at a time in each, several at once in the pool.
    """

    def __init__(self, chosen: Chosen, size: int) -> None:
        if size < 1:
            raise ValueError("a pool has at least one sandbox")
        self.at_once = size
        self._chosen = chosen
        self._capability: Capability = chosen.supervise().probe()
        self._lock = threading.Lock()
        self._members: list[_Member] = []
        self._free: list[_Member] = []
        self._waiting: deque[_Task] = deque()
        self._facts: Facts | None = None
        self._first: Future[BaseFacts] | None = None
        """What the first of the expected workers says of its base."""
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def probe(self) -> Capability:
        """What the start-up attacks showed; they ran once for all."""
        return self._capability

    def expect(self, jobs: int) -> None:
        """Starts as many workers as so many jobs keep busy; what is wrong with one of them is told by its first job."""
        with self._lock:
            for _ in range(len(self._members), 0 if self._closed else min(jobs, self.at_once)):
                task = _Task(Future(), self._agreeing)
                self._first = self._first or task.future
                self._open(task)

    def base(self) -> BaseFacts:
        """Facts of the loaded base, the same in all of them."""
        return (self._first or self._submit(self._agreeing)).result()

    def attestation(self) -> Mapping[str, Any]:
        """What was in force, the same in all of them."""

        def attest(supervisor: Supervisor) -> Mapping[str, Any]:
            self._agreeing(supervisor)
            return supervisor.attestation()

        return self._submit(attest).result()

    def run(self, job: Job, converse: Callable[[Ask], None]) -> Result:
        """One job, waited for; see `Supervisor.run`."""
        return self.submit(job, converse).result()

    def submit(self, job: Job, converse: Callable[[Ask], None]) -> "Future[Result]":
        """One job, run as soon as a sandbox is free; its future gives what `Supervisor.run` gives or raises."""

        def run(supervisor: Supervisor) -> Result:
            self._agreeing(supervisor)
            return supervisor.run(job, converse)

        return self._submit(run)

    def vouch(self) -> None:
        """See `Supervisor.vouch`, of all sandboxes of the pool; waits for the jobs that run."""
        with self._lock:
            tasks = [(member, _Task(Future(), Supervisor.vouch)) for member in self._members]
            for member, task in tasks:
                if member in self._free:
                    self._free.remove(member)
                member.inbox.put(task)
        for _, task in tasks:
            task.future.exception()  # all of them are asked, whatever one of them says
        for _, task in tasks:
            task.future.result()

    def close(self) -> None:
        """Ends all processes, those of running jobs, too; jobs that wait for their turn fail."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for task in self._waiting:
                task.fail(ObservationError("the sandbox is closed"))
            for member in self._members:
                member.inbox.put(None)
        for member in self._members:
            member.supervisor.interrupt()
        for member in self._members:
            member.join()

    def _agreeing(self, supervisor: Supervisor) -> BaseFacts:
        """The facts of this sandbox's base; raises ObservationError where they are not those of the others."""
        mine = (supervisor.base(), supervisor.reference)
        with self._lock:
            self._facts = self._facts or mine
            if mine != self._facts:
                raise ObservationError(
                    "two workers do not agree on the base, or on what the reference adapter answers",
                    next_step="run again with --workers 1, and leave the base alone meanwhile",
                )
        return mine[0]

    def _submit(self, question: Callable[[Supervisor], Answer]) -> "Future[Answer]":
        task = _Task(Future(), question)
        with self._lock:
            if self._closed:
                raise ObservationError("the sandbox is closed")
            if self._free:
                self._free.pop().inbox.put(task)  # the one that was freed last
            elif len(self._members) < self.at_once:
                self._open(task)
            else:
                self._waiting.append(task)
        return task.future

    def _open(self, task: "_Task") -> None:
        """One more sandbox, with its first task; called with the lock held."""
        self._members.append(_Member(self._chosen.supervise(), self._done))
        self._members[-1].inbox.put(task)

    def _done(self, member: "_Member") -> None:
        """Its next task, where there is one that it has not been given yet."""
        with self._lock:
            if self._closed or not member.inbox.empty():
                return
            if self._waiting:
                member.inbox.put(self._waiting.popleft())
            else:
                self._free.append(member)


class _Member(threading.Thread):
    """One sandbox and its thread."""

    def __init__(self, supervisor: Supervisor, done: "Callable[[_Member], None]") -> None:
        super().__init__(daemon=True)
        self.supervisor = supervisor
        self.inbox: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._done = done
        self.start()

    def run(self) -> None:
        """Takes task after task, until there is None."""
        with self.supervisor:
            while (task := self.inbox.get()) is not None:
                tell = task.answered(self.supervisor)
                self._done(self)  # before anybody is told, and comes with the next question
                tell()


@dataclass(frozen=True, slots=True)
class _Task:
    future: "Future[Any]"
    question: Callable[[Supervisor], Any]

    def answered(self, supervisor: Supervisor) -> Callable[[], None]:
        """Asks; gives what tells the answer to whoever waits for it."""
        if not self.future.set_running_or_notify_cancel():
            return lambda: None
        try:
            answer = self.question(supervisor)
        except BaseException as error:  # noqa: BLE001 - goes to whoever waits for the result
            return partial(self.future.set_exception, error)
        return partial(self.future.set_result, answer)

    def fail(self, error: ObservationError) -> None:
        if self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)
