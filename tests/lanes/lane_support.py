"""Runs the command line as somebody else, or on a host that lacks something, and reads what it left behind.

Nothing of peft-assay is replaced: other users, other mounts and refused system calls are the kernel's own.
"""

import base64
import json
import os
import pwd
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT / "examples" / "zoo"
STRANGER = 12345
"""A uid that owns nothing; whether the password database knows it is asked, not assumed."""
SECONDS = 400
SPARE = (Path("/mnt"), Path("/media"), Path("/srv"))
"""Folders of every Linux; one is covered, privately, to hold what is being moved."""
AM_ROOT = os.geteuid() == 0

DENY = """
import errno, os, sys
import pyseccomp as s
f = s.SyscallFilter(s.ALLOW)
for what in sys.argv[1].split(","):
    if what == "landlock":
        f.add_rule(s.ERRNO(errno.ENOSYS), 444)
        continue
    if what == "container":
        for name in sys.argv[2].split(","):
            f.add_rule(s.ERRNO(errno.EPERM), name)
    if what in ("container", "namespaces"):
        for flag in (0x00020000, 0x10000000):  # CLONE_NEWNS, CLONE_NEWUSER
            f.add_rule(s.ERRNO(errno.EPERM), "clone", s.Arg(0, s.MASKED_EQ, flag, flag))
        f.add_rule(s.ERRNO(errno.ENOSYS), "clone3")
f.load()
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Makes a host whose kernel has no Landlock, or denies bubblewrap its namespaces (it makes them with clone), or is a
container in a runtime's own profile."""
IN_CONTAINERS = (
    "add_key", "bpf", "io_uring_enter", "io_uring_register", "io_uring_setup", "keyctl", "mount", "open_by_handle_at",
    "perf_event_open", "pivot_root", "request_key", "setns", "umount2", "unshare", "userfaultfd",
)  # fmt: skip
"""What the default profile of Docker and containerd answers with EPERM for want of CAP_SYS_ADMIN."""
CONTAINER_CAPABILITIES = (
    "chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "net_bind_service", "net_raw",
    "sys_chroot", "mknod", "audit_write", "setfcap",
)  # fmt: skip
"""What root has in a container by default."""


@dataclass(frozen=True)
class Person:
    """Who runs the command, in which folder, on which kind of host."""

    home: Path
    """Workspace and trust anchor are made below it."""
    uid: int | None = None
    """None: whoever runs the tests."""
    interpreter_home: str | None = None
    """``own``: folders that hide the interpreter from this user become private homes of this user instead."""
    deny: tuple[str, ...] = ()
    """``landlock``, ``namespaces``, ``container``."""
    capabilities: tuple[str, ...] = ()
    """What root in a container has besides."""
    hide: tuple[Path, ...] = ()
    """Programs that are not there."""
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, python: Sequence[str] = (sys.executable,)) -> subprocess.CompletedProcess[str]:
        """``peft-assay`` with `arguments`."""
        return self.execute([*python, "-m", "peft_assay", *arguments])

    def execute(self, command: Sequence[str], seconds: float = SECONDS) -> subprocess.CompletedProcess[str]:
        """Any command, as this person."""
        if self.deny:
            command = [sys.executable, "-c", DENY, ",".join(self.deny), ",".join(IN_CONTAINERS), *command]
        if self.uid is None and "container" in self.deny and AM_ROOT:
            bounding = ",".join(("-all", *(f"+{name}" for name in (*CONTAINER_CAPABILITIES, *self.capabilities))))
            command = ["setpriv", f"--bounding-set={bounding}", "--inh-caps=-all", *command]
        if self.uid is not None or self.hide:
            command = self._elsewhere(command)
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(self.home),
            "PYTHONPATH": str(ROOT / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
            **self.environment,
        }
        return subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
        )

    def place(self) -> tuple[str, ...]:
        """Where this person's commands act."""
        return ("--context", str(ZOO), "--workspace", str(self.home), "--trust", str(self.home / "trust"))

    def init(self) -> None:
        """A workspace and development keys."""
        done = self.run("init", str(ZOO), "--workspace", str(self.home), "--trust", str(self.home / "trust"))
        assert done.returncode == 0, done.stdout + done.stderr

    def certify(self, *names: str, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """``certify`` on members of the zoo."""
        return self.run("certify", *(str(ZOO / "adapters" / name) for name in names), *self.place(), *options)

    def _elsewhere(self, command: Sequence[str]) -> list[str]:
        """A private mount namespace in which this user can reach interpreter, sources and home, and nothing else new.

        What bars the way (a private home above the interpreter, say) is replaced, for this command only, by an empty
        folder into which just the needed folders are bound at the same path.
        """
        needed = sorted({Path(sys.prefix), Path(sys.base_prefix), ROOT, self.home})
        hold = next(place for place in SPARE if not any(path.is_relative_to(place) for path in needed))
        lines = ["set -eu", f"hold={hold}", 'mount -t tmpfs hold "$hold"']
        barred = {bar for path in needed if (bar := barrier(path)) is not None} if self.uid is not None else set()
        inner = [path for path in needed if any(path.is_relative_to(bar) for bar in barred)]
        for number, path in enumerate(inner):
            lines += [f'mkdir "$hold/{number}"', f'mount --rbind {shlex.quote(str(path))} "$hold/{number}"']
        owner = f"mode=0700,uid={self.uid},gid={self.uid}" if self.interpreter_home == "own" else "mode=0755"
        lines += [f"mount -t tmpfs -o {owner} bar {shlex.quote(str(bar))}" for bar in sorted(barred)]
        for number, path in enumerate(inner):
            quoted = shlex.quote(str(path))
            lines += [f"mkdir -p {quoted}", f'mount --rbind "$hold/{number}" {quoted}']
        lines += [f"mount --bind /dev/null {shlex.quote(str(program))}" for program in self.hide]
        lines.append(f"cd {shlex.quote(str(ROOT))}")
        drop = [] if self.uid is None else ["setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]
        lines.append("exec " + shlex.join([*drop, *command]))
        return ["unshare", "--mount", "--propagation", "private", "bash", "-c", "\n".join(lines)]


def barrier(path: Path) -> Path | None:
    """The topmost folder on the way to `path` that a stranger cannot pass."""
    above = [*reversed(path.parents)]
    return next((folder for folder in above if not folder.stat().st_mode & 0o001), None)


def stranger(home: Path, **more: Any) -> Person:
    """An unprivileged user with the home `home`: the tests' own user, or another one when that is root."""
    if not AM_ROOT:
        return Person(home, **more)
    missing = [program for program in ("unshare", "setpriv", "mount") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"to become a plain user, root needs {', '.join(missing)} (apt-get install util-linux mount)")
    os.chown(home, STRANGER, STRANGER)
    home.chmod(0o700)
    person = Person(home, uid=STRANGER, **more)
    done = person.execute([sys.executable, "-c", "import torch.version, peft_assay"])
    if done.returncode:
        pytest.skip(f"a plain user cannot run {sys.executable} even beside its home: {done.stderr.strip()[-200:]}")
    return person


def needs_root(why: str) -> None:
    """Skips by name."""
    if not AM_ROOT:
        pytest.skip(f"needs root: {why}")


def needs_namespaces(person: Person) -> None:
    """Skips by name where the host cannot give this person namespaces; asked of bubblewrap, not of peft-assay."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed (apt-get install bubblewrap)")
    done = person.execute(["bwrap", "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "--proc", "/proc", "true"])
    if done.returncode:
        pytest.skip(f"this host denies namespaces: {done.stderr.strip()[-200:]}")


def needs_landlock() -> None:
    """Skips by name where the kernel has no Landlock."""
    if not landlock_abi():
        pytest.skip("this kernel has no Landlock (5.13 or newer, lsm=landlock,...)")


@cache
def landlock_abi() -> int:
    import landlockpy

    return int(landlockpy.abi_version())


def known(uid: int) -> bool:
    """Whether the password database has an entry for `uid`."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def statements(home: Path) -> list[dict[str, Any]]:
    """All signed statements in the workspace below `home`, decoded and not verified (the CLI did that)."""
    found = []
    for path in (home / ".peft-assay" / "blobs").rglob("*"):
        try:
            envelope = json.loads(path.read_bytes()) if path.is_file() else None
        except ValueError:
            continue
        if isinstance(envelope, dict) and "payloadType" in envelope:
            found.append(json.loads(base64.b64decode(envelope["payload"])))
    return found


def attestations(home: Path) -> list[dict[str, Any]]:
    """What the sandbox said was in force, from each observation in the workspace."""
    predicates = [statement["predicate"] for statement in statements(home)]
    observers = [predicate["observer"] for predicate in predicates if "observer" in predicate]
    return [observer["attestation"] for observer in observers if "attestation" in observer]


def certificates(home: Path) -> int:
    """How many certifications the workspace holds."""
    return sum("verification_summary" in statement["predicateType"] for statement in statements(home))
