"""The start-up attacks: what a sandbox is worth is what it stopped, and saw, before it met the first adapter."""

import os
import secrets
import socket
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json
from peft_assay.core.sandbox import Ask, IsolationLevel, Job, Limits
from peft_assay.sandbox.conversation import Conversation
from peft_assay.sandbox.interface import Backend, Mounts, Private, Program, SandboxConfiguration
from peft_assay.sandbox.loading import beside_libraries
from peft_assay.sandbox.worker import Worker

ATTACKS: Mapping[str, tuple[str, ...]] = {
    "read-host-file": (),
    "read-unlisted-file": (),
    "read-private-files": (),
    "read-beside-libraries": (),
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
"""Attack -> system calls, one of which the supervisor must have seen; none where the kernel refuses silently.

A filter outside, such as a container runtime's, wins over ours (seccomp(2)). Where the attacking worker, still without
our filter, finds that all of these calls are answered there, the attack need not have been seen.
"""

NAMESPACE_ONLY = frozenset({"see-host-process"})
"""What only namespaces stop; everything else must be stopped for any level at all."""
LANDLOCK_ONLY = frozenset({"read-unlisted-file"})
"""What inside of namespaces only Landlock stops. A kernel without it leaves the level `process`; that a child goes
without where the kernel has it is a defect, and no level."""

GROUP_BOUNDS = frozenset({"memory", "processes"})
"""What a control group must have been seen to bound. A bound on CPU time shows only where a host has time to spare."""

HOME = os.environ.get("HOME") or "/root"
OTHERS = tuple(map(Path, (HOME, "/etc/shadow", "/etc/passwd", "/etc", "/root", "/home", "/var", "/srv", "/opt")))
"""Folders in which hosts keep files of their users."""

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
    unseen: tuple[str, ...] = ()
    """Attacks that a filter around all of this refused before the supervisor could see them."""
    bounds: Mapping[str, bool] = field(default_factory=dict)
    """Control group's bound -> did it bite? Empty where there is no group."""

    def level(self, ceiling: IsolationLevel) -> IsolationLevel:
        """The level that was reached: at most the backend's `ceiling`, and never more than the attacks can show."""
        open_doors = {name for name, stopped in self.stopped.items() if not stopped}
        tolerable = NAMESPACE_ONLY if self.landlock else NAMESPACE_ONLY | LANDLOCK_ONLY
        if open_doors - tolerable or set(self.stopped) != set(ATTACKS):
            return IsolationLevel.NONE
        if open_doors or ceiling < IsolationLevel.NAMESPACE:
            return min(ceiling, IsolationLevel.PROCESS)
        grouped = {name for name, bit in self.bounds.items() if bit} >= GROUP_BOUNDS
        return IsolationLevel.NAMESPACE_CGROUP if grouped else IsolationLevel.NAMESPACE


def attack_program(harness: Program) -> Program:
    """The attacking worker: same packages, another module."""
    return Program(f"{harness.module}.attacks", harness.folders)


def try_attacks(backend: Backend, program: Program, mounts: Mounts, configuration: SandboxConfiguration) -> Findings:
    """Runs all attacks as one job behind `backend`'s walls; raises ObservationError when no worker starts there."""
    worker = Worker(backend, program, mounts, configuration)
    try:
        with tempfile.TemporaryDirectory(prefix="assay-") as folder, socket.socket() as listener:
            bait = _Bait(Path(folder), listener, _foreign(configuration.private, mounts))
            claims: dict[str, bool] = {}

            def attack(ask: Ask) -> None:
                for name in ATTACKS:
                    reply = ask({"op": "attack", "name": name, **bait.arguments})
                    claims[name] = not reply["succeeded"] and bait.secret not in reply["detail"]

            result = Conversation(worker, Job(None, LIMITS), LIMITS, _read_reply).converse(attack)
            seen = {event.detail for event in result.events if event.kind == "refused-syscall"}
            outside = set(worker.greeting.answeredOutside) - seen
            unseen = tuple(name for name, calls in ATTACKS.items() if calls and set(calls) <= outside)
            stopped = _stopped(claims, bait, seen, unseen)
            return Findings(stopped, worker.greeting.landlock, tuple(name for name in unseen if stopped[name]))
    finally:
        worker.kill()


class _Bait:
    """Things outside that every user of the host could reach, so that only the sandbox's walls stand before them."""

    def __init__(self, folder: Path, listener: socket.socket, private: Sequence[Path]) -> None:
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
            "private": list(map(str, private)),
            "beside": [str(path) for path in beside_libraries()],
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


def _foreign(private: Sequence[Private], mounts: Mounts) -> list[Path]:
    """Return paths that must not be readable; with namespaces the parents of readable ones are made anew and empty."""
    made = {parent for folder in mounts.folders for parent in folder.parents}
    return [path for path in (*(one.path.absolute() for one in private), *OTHERS) if path not in made]


def _stopped(claims: Mapping[str, bool], bait: _Bait, seen: set[str], unseen: Sequence[str]) -> dict[str, bool]:
    untouched = bait.untouched()
    return {
        name: claims.get(name, False)
        and untouched.get(name, True)
        and (not calls or bool(seen & set(calls)) or name in unseen)
        for name, calls in ATTACKS.items()
    }


def _read_reply(_: Mapping[str, Any], content: bytes) -> Mapping[str, Any]:
    value = parse_json(content, where="reply of the sandbox", max_bytes=len(content))
    try:
        return _AttackReply.model_validate(value).model_dump()
    except ValidationError:
        raise DocumentError("not an answer to an attack", where="reply of the sandbox") from None
