"""Several sandboxes at once, one for each core: each with a worker, a thread and sockets of its own.

Workers die with the thread that started them, so each thread lives as long as its sandbox. Jobs share nothing but the
walls' description and the page cache; each worker holds its own copy of the base.
"""

import os
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import Ask, BaseFacts, Capability, Job, Result
from peft_assay.sandbox.choose import Chosen
from peft_assay.sandbox.supervisor import Supervisor

Answer = TypeVar("Answer")


def cores() -> int:
    """How many workers can compute at once: the cores that this process may use."""
    return len(os.sched_getaffinity(0))


class SandboxPool:
    """Implements `core.sandbox.Sandbox`, and takes jobs ahead of their turn with `submit`.

    `converse` is called in the sandbox's thread, one job at a time in each, several at once in the pool.
    """

    def __init__(self, chosen: Chosen, size: int) -> None:
        if size < 1:
            raise ValueError("a pool has at least one sandbox")
        self._capability: Capability = chosen.supervise().probe()
        self._tasks: queue.SimpleQueue[Callable[[Supervisor], None] | None] = queue.SimpleQueue()
        self._closed = False
        self._meeting = threading.Barrier(size)
        self._threads = [threading.Thread(target=self._serve, args=(chosen,), daemon=True) for _ in range(size)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def probe(self) -> Capability:
        """What the start-up attacks showed; they ran once for all."""
        return self._capability

    def base(self) -> BaseFacts:
        """Facts of the loaded base, from whichever sandbox is free."""
        return self._ask_any(lambda supervisor: supervisor.base()).result()

    def attestation(self) -> Mapping[str, Any]:
        """What was in force, the same in all of them."""

        def attest(supervisor: Supervisor) -> Mapping[str, Any]:
            supervisor.base()
            return supervisor.attestation()

        return self._ask_any(attest).result()

    def run(self, job: Job, converse: Callable[[Ask], None]) -> Result:
        """One job, waited for; see `Supervisor.run`."""
        return self.submit(job, converse).result()

    def submit(self, job: Job, converse: Callable[[Ask], None]) -> "Future[Result]":
        """One job, run as soon as a sandbox is free; its future gives what `Supervisor.run` gives or raises."""
        return self._ask_any(lambda supervisor: supervisor.run(job, converse))

    def vouch(self) -> None:
        """See `Supervisor.vouch`, of all sandboxes of the pool; waits for the jobs that run."""

        def vouch(supervisor: Supervisor) -> None:
            self._meeting.wait()  # each thread takes one of these, and none of them a second
            supervisor.vouch()

        futures = [self._ask_any(vouch) for _ in self._threads]
        for future in futures:
            future.exception()
        for future in futures:
            future.result()

    def close(self) -> None:
        """Lets the jobs that run end, and ends all processes; jobs that wait for their turn fail."""
        if self._closed:
            return
        self._closed = True
        self._meeting.abort()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _ask_any(self, question: Callable[[Supervisor], Answer]) -> "Future[Answer]":
        if self._closed:
            raise ObservationError("the sandbox is closed")
        future: Future[Answer] = Future()
        self._tasks.put(_Task(future, question, self))
        return future

    def _serve(self, chosen: Chosen) -> None:
        with chosen.supervise() as supervisor:
            while (task := self._tasks.get()) is not None:
                task(supervisor)


@dataclass(frozen=True, slots=True)
class _Task:
    future: "Future[Any]"
    question: Callable[[Supervisor], Any]
    pool: SandboxPool

    def __call__(self, supervisor: Supervisor) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        if self.pool._closed:  # noqa: SLF001 - the pool's own task
            self.future.set_exception(ObservationError("the sandbox is closed"))
            return
        try:
            self.future.set_result(self.question(supervisor))
        except BaseException as error:  # noqa: BLE001 - goes to whoever waits for the result
            self.future.set_exception(error)
