"""The Sandbox that the rest of the system uses: one warmed worker, a fresh confined child for each job."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import Ask, BaseFacts, Capability, Job, Limits, Outcome, Result, Unvouched
from peft_assay.sandbox.attestation import FORKED, FRESH, FRESH_FOR_DEVICE, InForce, attest
from peft_assay.sandbox.cgroups import Place
from peft_assay.sandbox.conversation import PASSED_FILES, Conversation
from peft_assay.sandbox.devices import CPU
from peft_assay.sandbox.interface import Backend, Mounts, Program, SandboxConfiguration
from peft_assay.sandbox.microsuite import Findings
from peft_assay.sandbox.possible import bounded, possible_of
from peft_assay.sandbox.replies import ReadReply, read_reply
from peft_assay.sandbox.sentinel import ask_reference
from peft_assay.sandbox.worker import Worker


class Supervisor:
    """Implements `core.sandbox.Sandbox` behind one backend's walls.

    The worker starts when it is first needed, and again after a job that crashed, hit a limit, answered out of schema
    or made the supervisor see anything, after many jobs, and for another compartment. Workers die with the thread that
    started them (PR_SET_PDEATHSIG), so a Supervisor belongs to one thread; `sandbox.pool` has several.
    """

    at_once = 1

    def __init__(
        self,
        backend: Backend,
        program: Program,
        mounts: Mounts,
        configuration: SandboxConfiguration,
        findings: Findings,
        missing: tuple[str, ...],
        read: ReadReply = read_reply,
        place: Place | None = None,
    ) -> None:
        self._backend = backend
        self._program = program
        self._mounts = mounts
        self._configuration = configuration
        self._findings = findings
        self._capability = Capability(findings.level(backend.ceiling), findings.stopped, missing)
        self._read = read
        self._place = place
        self._processes = FRESH if configuration.fresh_processes else FORKED
        if configuration.device.nodes or configuration.device.name != CPU:
            self._processes = FRESH_FOR_DEVICE
        self._worker: Worker | None = None
        self._starting: Worker | None = None
        self._compartment = ""
        self._served = 0
        self._workers = 0
        self._facts: BaseFacts | None = None
        self._sentinel: Digest | None = None
        self._unvouched = 0
        self._lost = 0
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def probe(self) -> Capability:
        """What the start-up attacks showed; they ran when the sandbox was opened."""
        return self._capability

    def expect(self, jobs: int) -> None:
        """Nothing: the one worker starts with the first question, whatever comes afterwards."""

    def base(self) -> BaseFacts:
        """Facts of the loaded base; raises ObservationError when the worker does not start."""
        if self._facts is None:
            self._running(self._compartment, fresh=self._processes != FORKED)
        if self._facts is None:
            raise ObservationError("the worker gave no facts of the base")
        return self._facts

    @property
    def reference(self) -> Digest | None:
        """Digest of what the reference adapter answers; None before `base` was called, and where there is none."""
        return self._sentinel

    def attestation(self) -> Mapping[str, Any]:
        """See `sandbox.attestation`; base state and sentinel are in it once `base` has been called."""
        state = None if self._facts is None else self._facts.state
        force = InForce(self._capability, self._findings, self._place, self._processes, state, self._sentinel)
        return attest(self._backend, self._program, self._mounts, self._configuration, force)

    def run(self, job: Job, converse: Callable[[Ask], None]) -> Result:
        """One job in a fresh child.

        Raises ObservationError when the worker itself cannot be started, Unvouched when the worker that is due for it
        no longer answers its reference adapter as before, and lets through what `converse` raises (other than
        ChildGone); never raises for what the child does.
        """
        worker = self._running(job.compartment, fresh=job.fresh_process or self._processes != FORKED)
        try:
            read = bounded(self._read, possible_of(worker.greeting, job.vocabulary))
            result = Conversation(worker, job, self._within(job.limits), read).converse(converse)
        except BaseException:
            self._stop()
            raise
        self._served += 1
        number = self._served
        if result.outcome is not Outcome.OK or result.events or worker.fresh:
            self._stop()
        else:
            self._count(job)
            self._keep_or_replace()
        return replace(result, record={**result.record, **self._record(job, worker, number)})

    def vouch(self) -> None:
        """See `core.sandbox.Sandbox.vouch`: asks the reference adapter, where anything has to be vouched for.

        A job in a process of its own needs nobody to vouch for it, and neither does the base before its worker met an
        adapter. Results that did not end regularly, or with events, are void already and are not counted.
        """
        lost, self._lost = self._lost, 0
        if lost:
            since, self._unvouched = lost + self._unvouched, 0
            raise Unvouched(f"a worker was ended before it could be asked: the last {since} results are void")
        self._check_worker()

    def interrupt(self) -> None:
        """Ends the running worker, and with it a job that waits for it. For other threads than the supervisor's own."""
        self._closed = True
        for worker in (self._worker, self._starting):
            if worker is not None:
                worker.interrupt()

    def close(self) -> None:
        """Ends all processes; the sandbox cannot be used afterwards."""
        self._closed = True
        self._stop()

    def _count(self, job: Job) -> None:
        """What met an adapter, or came after one, is to be vouched for, by workers that have a reference adapter."""
        if self._sentinel is not None and (job.adapter is not None or self._unvouched):
            self._unvouched += 1

    def _check_worker(self) -> None:
        """Whether the running worker is still what it was when it started; it is ended where it is not."""
        worker, since = self._worker, self._unvouched
        if worker is None or since == 0:
            return
        self._unvouched = 0
        try:
            problem = "no longer answers as it did" if self._ask_reference(worker) != self._sentinel else None
        except ObservationError as error:
            problem = f"does not answer any more ({error.message})"
        except BaseException:
            self._unvouched = since
            self._stop()
            raise
        if problem is not None:
            self._stop()
            raise Unvouched(
                f"the reference adapter {problem}: the last {since} results are void",
                next_step="keep the adapters for your security team, and run again with fresh processes",
            )

    def _keep_or_replace(self) -> None:
        worn = self._served >= self._configuration.jobs_per_worker
        if worn or self._served % self._configuration.sentinel_every == 0:
            self._check_worker()
        if worn:
            self._stop()

    def _running(self, compartment: str, *, fresh: bool) -> Worker:
        """A worker that may serve this job: the one that runs, or a new one."""
        if self._closed:
            raise ObservationError("the sandbox is closed")
        worker = self._worker
        if worker is not None and self._suits(worker, compartment, fresh=fresh):
            self._compartment = compartment
            return worker
        if worker is not None:
            self._check_worker()
            self._stop()
        worker = self._start(fresh=fresh)
        if not fresh and not worker.greeting.forks:
            worker.kill()
            self._processes = f"{FRESH}: forked children cannot compute on this host"
            worker = self._start(fresh=True)
        self._worker, self._compartment = worker, compartment
        if self._closed:  # by `interrupt`, which found no worker to end
            self._stop()
            raise ObservationError("the sandbox is closed")
        return worker

    def _suits(self, worker: Worker, compartment: str, *, fresh: bool) -> bool:
        if worker.fresh or fresh:
            return worker.fresh and fresh and self._served == 0
        return self._served == 0 or compartment == self._compartment

    def _start(self, *, fresh: bool) -> Worker:
        try:
            worker = Worker(
                self._backend,
                self._program,
                self._mounts,
                self._configuration,
                place=self._place,
                fresh=fresh,
                started=self._is_starting,
            )
        finally:
            self._starting = None
        self._workers += 1
        self._served = 0
        try:
            self._learn(worker)
        except BaseException:
            worker.kill()
            raise
        return worker

    def _is_starting(self, worker: Worker) -> None:
        self._starting = worker
        if self._closed:  # by `interrupt`, which came too early to find it
            worker.interrupt()

    def _learn(self, worker: Worker) -> None:
        greeting = worker.greeting
        if greeting.state is None:
            raise ObservationError("the worker gave no facts of the base")
        facts = BaseFacts(greeting.state, greeting.parameters, dict(greeting.stack))
        sentinel = self._sentinel
        if greeting.sentinel and greeting.forks and not worker.fresh:
            sentinel = self._ask_reference(worker)
        if self._facts is not None and (facts, sentinel) != (self._facts, self._sentinel or sentinel):
            raise ObservationError(
                "the base or the stack changed while the sandbox was open",
                where=str(self._configuration.base),
                next_step="run again, and leave the base alone meanwhile",
            )
        self._facts, self._sentinel = facts, sentinel

    def _ask_reference(self, worker: Worker) -> Digest:
        return ask_reference(worker, self._configuration.task, self._configuration.limits, self._read)

    def _record(self, job: Job, worker: Worker, number: int) -> Mapping[str, Any]:
        staged = (
            {name: sha256(job.adapter[name]) for name in PASSED_FILES if name in job.adapter} if job.adapter else {}
        )
        return {
            "adapter": None if job.adapter is None else canonical_digest(staged),
            "worker": self._workers,
            "job": number,
            "fresh": worker.fresh,
        }

    def _within(self, asked: Limits) -> Limits:
        ceilings = self._configuration.limits
        return Limits(
            wall_seconds=min(asked.wall_seconds, ceilings.wall_seconds),
            cpu_seconds=min(asked.cpu_seconds, ceilings.cpu_seconds),
            memory_bytes=min(asked.memory_bytes, ceilings.memory_bytes),
            output_bytes=min(asked.output_bytes, ceilings.output_bytes),
        )

    def _stop(self) -> None:
        """Ends the worker; what it was not asked about in time, nobody can vouch for any more."""
        self._lost, self._unvouched = self._lost + self._unvouched, 0
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()
