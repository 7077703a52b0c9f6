"""The start-up attacks: what a sandbox is worth is what it stopped, and saw, before it met the first adapter."""

import os
import secrets
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json
from peft_assay.core.sandbox import Ask, IsolationLevel, Job, Limits, Result
from peft_assay.sandbox.conversation import Conversation
from peft_assay.sandbox.interface import Backend, Mounts, Program, SandboxConfiguration
from peft_assay.sandbox.worker import Worker

ATTACKS: Mapping[str, tuple[str, ...]] = {
    "read-host-file": (),
    "write-host-file": ("openat", "open"),
    "leave-file": ("openat", "open"),
    "connect": ("socket",),
    "signal-worker": ("kill",),
    "worker-memory": (),
    "trace-worker": ("ptrace",),
    "new-namespace": ("unshare",),
    "io-uring": ("io_uring_setup",),
    "see-host-process": (),
    "run-as-root": (),
    "exceed-memory": (),
    "fork": ("clone", "clone3", "fork", "vfork"),
    "execute": ("execve",),
}
"""Attack -> system calls, one of which the supervisor must have seen; none where the kernel refuses silently."""

NAMESPACE_ONLY = frozenset({"see-host-process"})
"""What only namespaces stop; everything else must be stopped for any level at all."""

LIMITS = Limits(wall_seconds=30.0, cpu_seconds=10, memory_bytes=256 << 20, output_bytes=1 << 20)


class _AttackReply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    op: str
    succeeded: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What the start-up attacks showed."""

    stopped: Mapping[str, bool]
    landlock: int
    """ABI version of Landlock that children confine themselves with, 0 for none."""

    def level(self, ceiling: IsolationLevel) -> IsolationLevel:
        """The level that was reached, at most the backend's `ceiling`."""
        open_doors = {name for name, stopped in self.stopped.items() if not stopped}
        if open_doors - NAMESPACE_ONLY or set(self.stopped) != set(ATTACKS):
            return IsolationLevel.NONE
        return min(ceiling, IsolationLevel.PROCESS) if open_doors else ceiling


def attack_program(harness: Program) -> Program:
    """The attacking worker: same packages, another module."""
    return Program(f"{harness.module}.attacks", harness.folders)


def try_attacks(backend: Backend, program: Program, mounts: Mounts, configuration: SandboxConfiguration) -> Findings:
    """Runs all attacks as one job behind `backend`'s walls; raises ObservationError when no worker starts there."""
    worker = Worker(backend, program, mounts, configuration)
    try:
        with tempfile.TemporaryDirectory(prefix="assay-") as folder, socket.socket() as listener:
            bait = _Bait(Path(folder), listener)
            claims: dict[str, bool] = {}

            def attack(ask: Ask) -> None:
                for name in ATTACKS:
                    reply = ask({"op": "attack", "name": name, **bait.arguments})
                    claims[name] = not reply["succeeded"] and bait.secret not in reply["detail"]

            result = Conversation(worker, Job(None, LIMITS), LIMITS, _read_reply).converse(attack)
            return Findings(_stopped(claims, bait, result), worker.greeting.landlock)
    finally:
        worker.kill()


class _Bait:
    """Things outside that every user of the host could reach, so that only the sandbox's walls stand before them."""

    def __init__(self, folder: Path, listener: socket.socket) -> None:
        self.secret = secrets.token_hex(16)
        self._folder = folder
        self._listener = listener
        folder.chmod(0o777)
        (folder / "bait").write_text(self.secret, "utf-8")
        (folder / "bait").chmod(0o644)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        self.arguments = {
            "path": str(folder / "bait"),
            "folder": str(folder),
            "port": listener.getsockname()[1],
            "pid": os.getpid(),
            "bytes": LIMITS.memory_bytes + (64 << 20),
        }

    def untouched(self) -> dict[str, bool]:
        """Attack -> whether the outside bears no trace of it, whatever the child claimed."""
        try:
            self._listener.accept()[0].close()
            connected = True
        except BlockingIOError:
            connected = False
        return {"write-host-file": not (self._folder / "breach").exists(), "connect": not connected}


def _stopped(claims: Mapping[str, bool], bait: _Bait, result: Result) -> dict[str, bool]:
    seen = {event.detail for event in result.events if event.kind == "refused-syscall"}
    untouched = bait.untouched()
    return {
        name: claims.get(name, False) and untouched.get(name, True) and (not calls or bool(seen & set(calls)))
        for name, calls in ATTACKS.items()
    }


def _read_reply(_: Mapping[str, Any], content: bytes) -> Mapping[str, Any]:
    value = parse_json(content, where="reply of the sandbox", max_bytes=len(content))
    try:
        return _AttackReply.model_validate(value).model_dump()
    except ValidationError:
        raise DocumentError("not an answer to an attack", where="reply of the sandbox") from None
