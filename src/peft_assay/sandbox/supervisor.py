"""The Sandbox that the rest of the system uses: one warmed worker, a fresh confined child for each job."""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import Ask, BaseFacts, Capability, Job, Limits, Outcome, Result
from peft_assay.sandbox.attestation import attest
from peft_assay.sandbox.conversation import Conversation
from peft_assay.sandbox.interface import Backend, Mounts, Program, SandboxConfiguration
from peft_assay.sandbox.microsuite import Findings
from peft_assay.sandbox.replies import ReadReply, read_reply
from peft_assay.sandbox.worker import Worker


class Supervisor:
    """Implements `core.sandbox.Sandbox` behind one backend's walls.

    The worker starts when it is first needed, and again after a job that crashed, hit a limit, answered out of schema
    or made the supervisor see anything. Workers die with the thread that started them (PR_SET_PDEATHSIG), so a
    Supervisor belongs to one thread.
    """

    def __init__(
        self,
        backend: Backend,
        program: Program,
        mounts: Mounts,
        configuration: SandboxConfiguration,
        findings: Findings,
        missing: tuple[str, ...],
        read: ReadReply = read_reply,
    ) -> None:
        self._backend = backend
        self._program = program
        self._mounts = mounts
        self._configuration = configuration
        self._findings = findings
        self._capability = Capability(findings.level(backend.ceiling), findings.stopped, missing)
        self._read = read
        self._worker: Worker | None = None
        self._facts: BaseFacts | None = None
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

    def base(self) -> BaseFacts:
        """Facts of the loaded base; raises ObservationError when the worker does not start."""
        if self._facts is None:
            self._running()
        if self._facts is None:
            raise ObservationError("the worker gave no facts of the base")
        return self._facts

    def attestation(self) -> Mapping[str, Any]:
        """See `sandbox.attestation`."""
        return attest(
            self._backend,
            self._program,
            self._mounts,
            self._configuration,
            self._capability,
            self._findings.landlock,
        )

    def run(self, job: Job, converse: Callable[[Ask], None]) -> Result:
        """One job in a fresh child.

        Raises ObservationError only when the worker itself cannot be started, and lets through what `converse` raises
        (other than ChildGone); never raises for what the child does.
        """
        worker = self._running()
        try:
            result = Conversation(worker, job, self._within(job.limits), self._read).converse(converse)
        except BaseException:
            self._stop()
            raise
        if result.outcome is not Outcome.OK or result.events:
            self._stop()
        return result

    def close(self) -> None:
        """Ends all processes; the sandbox cannot be used afterwards."""
        self._closed = True
        self._stop()

    def _running(self) -> Worker:
        if self._closed:
            raise ObservationError("the sandbox is closed")
        if self._worker is None:
            worker = Worker(self._backend, self._program, self._mounts, self._configuration)
            try:
                self._learn(worker)
            except BaseException:
                worker.kill()
                raise
            self._worker = worker
        return self._worker

    def _learn(self, worker: Worker) -> None:
        greeting = worker.greeting
        if greeting.state is None:
            raise ObservationError("the worker gave no facts of the base")
        facts = BaseFacts(greeting.state, greeting.parameters, dict(greeting.stack))
        if self._facts is not None and facts != self._facts:
            raise ObservationError(
                "the base or the stack changed while the sandbox was open",
                where=str(self._configuration.base),
                next_step="run again, and leave the base alone meanwhile",
            )
        self._facts = facts

    def _within(self, asked: Limits) -> Limits:
        ceilings = self._configuration.limits
        return Limits(
            wall_seconds=min(asked.wall_seconds, ceilings.wall_seconds),
            cpu_seconds=min(asked.cpu_seconds, ceilings.cpu_seconds),
            memory_bytes=min(asked.memory_bytes, ceilings.memory_bytes),
            output_bytes=min(asked.output_bytes, ceilings.output_bytes),
        )

    def _stop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.kill()
