"""One job: the supervisor's questions, the child's answers, and everything that can go wrong in between."""

import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from peft_assay.core.errors import DocumentError
from peft_assay.core.sandbox import Ask, ChildGone, Event, Job, Limits, Outcome, Result, Usage
from peft_assay.sandbox.descriptors import passed_on, sealed
from peft_assay.sandbox.filters import compile_filters
from peft_assay.sandbox.notify import refuse_one
from peft_assay.sandbox.replies import ReadReply
from peft_assay.sandbox.worker import MAX_MESSAGE, Worker

PASSED_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""All that the worker reads of an adapter; a child never sees its other files."""
ADDED_TOKENS = "added_tokens"
"""Name of the supervisor's own list of tokens (`peft_assay_harness.tokens`); no file of the adapter has it."""
EXIT_MEMORY = 3
MAX_EVENTS = 64
FAREWELL_SECONDS = 10.0
WITHDRAWN = "a system call that was withdrawn"


class Conversation:
    """Runs one job on a worker and sums it up as a Result; never raises for what the child does."""

    def __init__(
        self, worker: Worker, job: Job, limits: Limits, read_reply: ReadReply, *, reference: bool = False
    ) -> None:
        """`reference` asks the worker's own reference adapter instead of one from outside."""
        self._worker = worker
        self._reference = reference
        self._asked = hashlib.sha256()
        self._answered = hashlib.sha256()
        self._limits = limits
        self._read_reply = read_reply
        self._started = time.monotonic()
        self._events: list[Event] = []
        self._failure: tuple[Outcome, str] | None = None
        self._ended: Mapping[str, Any] | None = None
        self._child: int | None = None
        self._listener: int | None = None
        self._received = bytearray()
        self._output_bytes = 0
        self._peak: int | None = None
        self._response_open = True
        worker.forget_errors()
        self._requests, self._response = self._send(job)

    def converse(self, talk: Callable[[Ask], None]) -> Result:
        """Lets `talk` ask, then waits for the child's end. Exceptions other than ChildGone pass through."""
        try:
            with contextlib.suppress(ChildGone):
                talk(self._ask)
            with contextlib.suppress(ChildGone):
                self._bid_farewell()
            return self._result()
        finally:
            self._close()

    def _ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._failure is not None:
            raise ChildGone(self._failure[1])
        self._receive_waiting()
        if self._received:
            self._fail(Outcome.INVALID_OUTPUT, f"{len(self._received)} bytes before anything was asked")
        content = json.dumps(request, allow_nan=False).encode()
        self._asked.update(len(content).to_bytes(4, "big") + content)
        self._write(len(content).to_bytes(4, "big") + content)
        frame = self._frame()
        self._answered.update(len(frame).to_bytes(4, "big") + frame)
        try:
            return self._read_reply(request, frame)
        except DocumentError as error:
            self._fail(Outcome.INVALID_OUTPUT, str(error))
        except Exception as error:  # noqa: BLE001 - whatever a reply does to its reader is the child's doing
            self._fail(Outcome.INVALID_OUTPUT, f"its reply cannot be read: {type(error).__name__}")

    def _fail(self, outcome: Outcome, detail: str) -> NoReturn:
        self._failure = self._failure or (outcome, detail)
        raise ChildGone(detail)

    def _send(self, job: Job) -> tuple[int, int]:
        their_requests, requests = os.pipe()
        response, their_response = os.pipe()
        passed = [their_requests, their_response]
        files = None
        try:
            if job.adapter is not None:
                contents = {name: job.adapter[name] for name in PASSED_FILES if name in job.adapter}
                contents |= {ADDED_TOKENS: job.tokens} if job.tokens else {}
                files = [(name, len(content)) for name, content in contents.items()]
                passed += [sealed(content) for content in contents.values()]
            order = {
                "files": files,
                "reference": self._reference,
                "cpuSeconds": max(1, self._limits.cpu_seconds),
                "memoryBytes": self._limits.memory_bytes,
            }
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                socket.send_fds(self._worker.control, [json.dumps(order).encode()], passed)
        finally:
            for descriptor in passed:
                os.close(descriptor)
        os.set_blocking(requests, False)
        os.set_blocking(response, False)
        return requests, response

    def _write(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            writable = self._turn(writing=True)
            if writable:
                try:
                    view = view[os.write(self._requests, view) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError:
                    self._await_end()

    def _frame(self) -> bytes:
        while True:
            if len(self._received) >= 4:
                length = int.from_bytes(self._received[:4], "big")
                if length > self._limits.output_bytes:
                    self._record("limit", "output")
                    self._fail(Outcome.OUTPUT_CAP, f"a reply of {length} bytes was announced")
                if len(self._received) >= 4 + length:
                    frame = bytes(self._received[4 : 4 + length])
                    del self._received[: 4 + length]
                    return frame
            if not self._response_open:
                self._await_end()
            self._turn()

    def _await_end(self) -> None:
        """The child closed its end in the middle: waits for how it ended, and fails."""
        while self._ended is None:
            self._turn()
        self._judge_end(self._ended)
        self._fail(Outcome.CRASH, "the child ended before it answered")

    def _bid_farewell(self) -> None:
        """No more questions: the child must end by itself, without another word."""
        if self._failure is not None:
            return
        self._peak = _peak_bytes(self._child)
        os.close(self._requests)
        self._requests = -1
        self._limits = _until(self._limits, time.monotonic() - self._started + FAREWELL_SECONDS)
        while self._ended is None or self._response_open:
            self._turn()
        self._count(self._worker.remaining_errors())
        self._judge_end(self._ended)
        if self._received:
            self._fail(Outcome.INVALID_OUTPUT, f"{len(self._received)} bytes that nobody asked for")

    def _judge_end(self, ended: Mapping[str, Any]) -> None:
        status = int(ended["status"])
        if status == 0:
            return
        said = f": {self._worker.last_words()}" if self._worker.last_words() else ""
        if status == EXIT_MEMORY:
            self._record("limit", "memory")
            self._fail(Outcome.LIMIT, f"out of {self._limits.memory_bytes} bytes of memory{said}")
        if status == -signal.SIGKILL and self._worker.killed_for_memory():
            self._fail_for_memory()
        if status in (-signal.SIGXCPU, -signal.SIGKILL):
            self._record("limit", "cpu")
            self._fail(Outcome.LIMIT, f"out of {self._limits.cpu_seconds} s of CPU time")
        if status == -signal.SIGSYS:
            self._record("refused-syscall", "a sealed or foreign system call")
            self._fail(Outcome.CRASH, "killed at a sealed or foreign system call")
        ending = f"signal {-status}" if status < 0 else f"status {status}"
        self._fail(Outcome.CRASH, f"the child ended with {ending}{said}")

    def _fail_for_memory(self) -> NoReturn:
        self._record("limit", "memory")
        self._fail(Outcome.LIMIT, "the worker and this child took more memory than their control group allows")

    def _record(self, kind: str, detail: str) -> None:
        self._events.append(Event(time.monotonic() - self._started, kind, detail))

    def _turn(self, *, writing: bool = False) -> bool:
        """Waits for something to happen and deals with it; whether the child takes requests now."""
        remaining = self._started + self._limits.wall_seconds - time.monotonic()
        if remaining <= 0:
            self._record("limit", "wall clock")
            self._fail(Outcome.TIMEOUT, f"no end after {self._limits.wall_seconds:.1f} s")
        ready = dict(self._poller(writing=writing).poll(remaining * 1000))
        if self._listener in ready:
            self._refuse(ready[self._listener])
        if self._worker.errors in ready:
            self._count(self._worker.read_errors())
        if self._response in ready:
            self._receive()
        if self._worker.control.fileno() in ready:
            self._hear_worker()
        return bool(ready.get(self._requests, 0))

    def _poller(self, *, writing: bool) -> select.poll:
        poller = select.poll()
        poller.register(self._worker.control, select.POLLIN)
        poller.register(self._worker.errors, select.POLLIN)
        if self._response_open:
            poller.register(self._response, select.POLLIN)
        if self._listener is not None:
            poller.register(self._listener, select.POLLIN)
        if writing:
            poller.register(self._requests, select.POLLOUT)
        return poller

    def _refuse(self, condition: int) -> None:
        listener = self._listener
        if listener is None:
            return
        if not condition & select.POLLIN:  # the child is gone
            os.close(listener)
            self._listener = None
            return
        number = refuse_one(listener)
        self._record("refused-syscall", WITHDRAWN if number is None else compile_filters().name_of(number))
        if len(self._events) >= MAX_EVENTS:
            self._fail(Outcome.CRASH, f"killed after {MAX_EVENTS} refused system calls")

    def _receive_waiting(self) -> None:
        """Takes what was written before it was asked for: the answer to one question must not serve for another."""
        poller = select.poll()
        poller.register(self._response, select.POLLIN)
        while self._response_open and poller.poll(0):
            self._receive()

    def _receive(self) -> None:
        try:
            piece = os.read(self._response, 1 << 20)
        except BlockingIOError:
            return
        self._response_open = bool(piece)
        self._received += piece
        self._count(len(piece))

    def _count(self, written: int) -> None:
        self._output_bytes += written
        if self._output_bytes > self._limits.output_bytes:
            self._record("limit", "output")
            self._fail(Outcome.OUTPUT_CAP, f"more than {self._limits.output_bytes} bytes of output")

    def _hear_worker(self) -> None:
        try:
            message, ancillary, _, _ = self._worker.control.recvmsg(MAX_MESSAGE, 256)
        except ConnectionResetError:
            message, ancillary = b"", []
        if not message:
            if self._worker.killed_for_memory():
                self._fail_for_memory()
            self._fail(Outcome.CRASH, f"the worker ended: {self._worker.last_words()}")
        value = json.loads(message)
        if "listener" in value:
            self._child, self._listener = passed_on(ancillary)
        elif "ended" in value:
            self._ended = value["ended"]

    def _result(self) -> Result:
        outcome, detail = self._failure or (Outcome.OK, "")
        wall = time.monotonic() - self._started
        cpu = float(self._ended["cpu"]) if self._ended is not None else _cpu_seconds(self._child)
        usage = Usage(wall, cpu, self._output_bytes, self._peak)
        record = {"asked": f"sha256:{self._asked.hexdigest()}", "answered": f"sha256:{self._answered.hexdigest()}"}
        return Result(outcome, tuple(self._events), usage, detail, record)

    def _close(self) -> None:
        for descriptor in (self._requests, self._response, self._listener):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)


def _cpu_seconds(process: int | None) -> float:
    """CPU time of a process that still runs, 0 when it is gone (proc(5), stat fields 14 and 15)."""
    try:
        with open(f"/proc/{process}/stat", "rb") as stat:  # noqa: PTH123 - a kernel file
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_bytes(process: int | None) -> int | None:
    """Largest resident memory that a process had so far (proc_pid_status(5), VmHWM), None when it cannot be read."""
    try:
        with open(f"/proc/{process}/status", "rb") as status:  # noqa: PTH123 - a kernel file
            fields = dict(line.split(b":", 1) for line in status.read().splitlines() if b":" in line)
    except OSError:
        return None
    amount = fields.get(b"VmHWM", b"").split()
    return int(amount[0]) * 1024 if len(amount) == 2 and amount[0].isdigit() else None


def _until(limits: Limits, wall_seconds: float) -> Limits:
    wall = min(limits.wall_seconds, wall_seconds)
    return Limits(wall, limits.cpu_seconds, limits.memory_bytes, limits.output_bytes)
