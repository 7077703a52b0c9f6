"""Walls of namespaces, built by bubblewrap: own mounts, processes, network, and never the root user inside.

Started by root, namespaces need no user namespace; bubblewrap then keeps just the capabilities that setpriv needs to
become an unprivileged user before the interpreter starts (for real root, RLIMIT_NPROC does not count). Started by a
plain user, or by a root that can become nobody else, a user namespace maps that user, and no further ones can be made
inside.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from peft_assay.core.digest import sha256
from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.sandbox.interface import BackendName, Command, Mounts
from peft_assay.sandbox.loading import SYSTEM_LINKS
from peft_assay.sandbox.privileges import (
    BECOMING,
    NOBODY,
    can_become_nobody,
    drop_options,
    kept_capabilities,
    permitted,
)
from peft_assay.sandbox.surroundings import ENVIRONMENT

TMP_BYTES = 64 << 20
SHM_BYTES = 1 << 20


def program_path(name: str, package: str) -> str:
    """Absolute path of a system program; raises ObservationError with the line that installs it."""
    found = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin")
    if found is None:
        raise ObservationError(f"{name} is not installed", next_step=f"apt install {package}")
    return found


@dataclass(frozen=True, slots=True)
class NamespaceBackend:
    """bubblewrap, and setpriv when started by root."""

    bwrap: str
    setpriv: str | None
    proc: bool = True
    """Whether the inside has a /proc of its own. Where parts of the host's are covered, as container runtimes do, the
    kernel refuses to mount another one in a user namespace (user_namespaces(7)); then an empty folder stands there."""
    name: BackendName = "namespace"
    ceiling: IsolationLevel = IsolationLevel.NAMESPACE

    @classmethod
    def find(cls) -> "NamespaceBackend":
        """Raises ObservationError when a program is missing."""
        bwrap = program_path("bwrap", "bubblewrap")
        # Without CAP_SYS_ADMIN, as in most containers, even root makes namespaces only inside a user namespace.
        privileged = can_become_nobody() and "sys_admin" in permitted()
        return cls(bwrap, program_path("setpriv", "util-linux") if privileged else None)

    def without_proc(self) -> "NamespaceBackend":
        """The same walls for hosts that let nobody mount /proc."""
        return replace(self, proc=False)

    def command(self, worker: Sequence[str], mounts: Mounts) -> Command:
        """The argument list of bubblewrap around `worker`."""
        environment = ENVIRONMENT | {"PYTHONPATH": ":".join(map(str, mounts.module_path))}
        arguments = [self.bwrap, *self._namespaces(), *self._file_system(mounts), "--clearenv"]
        for name, value in environment.items():
            arguments += ["--setenv", name, value]
        if self.setpriv is not None:
            worker = [self.setpriv, *drop_options(), "--", *worker]
        return Command((*arguments, "--", *worker), {"PATH": "/usr/bin:/bin"})

    def describe(self) -> Mapping[str, Any]:
        """Programs with version and digest."""
        version = subprocess.run([self.bwrap, "--version"], capture_output=True, text=True, check=False).stdout.strip()
        programs = {path: sha256(Path(path).read_bytes()) for path in (self.bwrap, self.setpriv) if path is not None}
        return {"backend": self.name, "version": version, "programs": programs, "proc": self.proc}

    def _namespaces(self) -> list[str]:
        shared = ["--die-with-parent", "--new-session", "--hostname", "assay"]
        if self.setpriv is None:
            identity = ["--unshare-user", "--uid", str(NOBODY), "--gid", str(NOBODY)]
            # This writes below /proc/sys, read-only where /proc is covered. The filter refuses namespaces, too.
            ending = ["--disable-userns"] if self.proc else []
            return [*shared, "--unshare-all", *identity, *ending, "--cap-drop", "ALL"]
        needed = (*BECOMING, *kept_capabilities())
        kept = [part for name in needed for part in ("--cap-add", f"CAP_{name.upper()}")]
        unshared = [f"--unshare-{kind}" for kind in ("ipc", "pid", "net", "uts", "cgroup-try")]
        return [*shared, *unshared, "--cap-drop", "ALL", *kept]

    def _file_system(self, mounts: Mounts) -> list[str]:
        """Read-only, but for an empty /tmp of bounded size. Parents of what is shown are made anew, empty."""
        arguments = []
        for path in map(Path, SYSTEM_LINKS):
            if path.is_symlink():
                arguments += ["--symlink", str(path.readlink()), str(path)]
        arguments += ["--proc" if self.proc else "--dir", "/proc", "--dev", "/dev"]
        arguments += ["--size", str(SHM_BYTES), "--tmpfs", "/dev/shm"]  # noqa: S108 - the inside's own
        arguments += ["--size", str(TMP_BYTES), "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108 - the inside's own
        shown = (*mounts.folders, *([] if self.setpriv is None else [Path(self.setpriv)]))
        for path in sorted({*shown, *mounts.hidden}):  # a path within another one comes after it
            arguments += _hidden(path) if path in mounts.hidden else []
            arguments += _shown(path, mounts.hidden) if path in shown else []
        for device in mounts.devices:
            arguments += ["--dev-bind", str(device), str(device)]
        emptied = [part for path in mounts.hidden if path.is_dir() for part in ("--remount-ro", str(path))]
        return [*arguments, *emptied, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]


def _shown(path: Path, hidden: Sequence[Path]) -> list[str]:
    """Bind `path`, whose parents are made anew; bubblewrap's own would have mode 0700."""
    parents = [parent for parent in path.parents if parent not in {Path("/"), Path("/tmp"), *hidden}]  # noqa: S108
    made = [part for parent in reversed(parents) for part in ("--perms", "0755", "--dir", str(parent))]
    return [*made, "--ro-bind", str(path), str(path)]


def _hidden(path: Path) -> list[str]:
    """Mount an empty file or folder in the place of `path`."""
    if path.is_dir():
        return ["--perms", "0755", "--tmpfs", str(path)]
    return ["--ro-bind", os.devnull, str(path)]
