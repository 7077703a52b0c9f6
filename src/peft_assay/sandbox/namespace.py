"""Walls of namespaces, built by bubblewrap: own mounts, processes, network, and never the root user inside.

Started by root, namespaces need no user namespace; bubblewrap then keeps just the capabilities that setpriv needs to
become an unprivileged user before the interpreter starts (for real root, RLIMIT_NPROC does not count). Started by a
plain user, a user namespace maps that user, and no further ones can be made inside.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft_assay.core.digest import sha256
from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.sandbox.interface import BackendName, Command, Mounts
from peft_assay.sandbox.surroundings import ENVIRONMENT, SYSTEM

NOBODY = 65534
TMP_BYTES = 64 << 20
SHM_BYTES = 1 << 20
# What root saved is often its own to read only (save_pretrained: mode 0600), and so may be the interpreter's home.
# The worker reads both with this one capability; each child gives it up before it meets an adapter.
READ_ANYWHERE = "dac_read_search"
DROP = (
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--no-new-privs",
    f"--inh-caps=-all,+{READ_ANYWHERE}",
    f"--ambient-caps=-all,+{READ_ANYWHERE}",
    f"--bounding-set=-all,+{READ_ANYWHERE}",
)
"""Options by which setpriv becomes an unprivileged user."""
BECOMING = ("SETUID", "SETGID", "SETPCAP", READ_ANYWHERE.upper())
"""Capabilities that setpriv needs for that."""


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
    name: BackendName = "namespace"
    ceiling: IsolationLevel = IsolationLevel.NAMESPACE

    @classmethod
    def find(cls) -> "NamespaceBackend":
        """Raises ObservationError when a program is missing."""
        bwrap = program_path("bwrap", "bubblewrap")
        return cls(bwrap, program_path("setpriv", "util-linux") if os.geteuid() == 0 else None)

    def command(self, worker: Sequence[str], mounts: Mounts) -> Command:
        """The argument list of bubblewrap around `worker`."""
        environment = ENVIRONMENT | {"PYTHONPATH": ":".join(map(str, mounts.module_path))}
        arguments = [self.bwrap, *self._namespaces(), *_file_system(mounts), "--clearenv"]
        for name, value in environment.items():
            arguments += ["--setenv", name, value]
        if self.setpriv is not None:
            worker = [self.setpriv, *DROP, "--", *worker]
        return Command((*arguments, "--", *worker), {"PATH": "/usr/bin:/bin"})

    def describe(self) -> Mapping[str, Any]:
        """Programs with version and digest."""
        version = subprocess.run([self.bwrap, "--version"], capture_output=True, text=True, check=False).stdout.strip()
        programs = {path: sha256(Path(path).read_bytes()) for path in (self.bwrap, self.setpriv) if path is not None}
        return {"backend": self.name, "version": version, "programs": programs}

    def _namespaces(self) -> list[str]:
        shared = ["--die-with-parent", "--new-session", "--hostname", "assay"]
        if self.setpriv is None:
            identity = ["--unshare-user", "--disable-userns", "--uid", str(NOBODY), "--gid", str(NOBODY)]
            return [*shared, "--unshare-all", *identity, "--cap-drop", "ALL"]
        kept = [part for name in BECOMING for part in ("--cap-add", f"CAP_{name}")]
        unshared = [f"--unshare-{kind}" for kind in ("ipc", "pid", "net", "uts", "cgroup-try")]
        return [*shared, *unshared, "--cap-drop", "ALL", *kept]


def _file_system(mounts: Mounts) -> list[str]:
    """Read-only, except an empty /tmp of bounded size. Parents of what is shown are new folders, empty besides it."""
    arguments = []
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            arguments += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            arguments += ["--ro-bind", str(path), str(path)]
    arguments += ["--proc", "/proc", "--dev", "/dev", "--size", str(SHM_BYTES), "--tmpfs", "/dev/shm"]  # noqa: S108
    arguments += ["--size", str(TMP_BYTES), "--perms", "1777", "--tmpfs", "/tmp"]  # noqa: S108 - the inside's own
    parents = {parent for folder in mounts.folders for parent in folder.parents}
    for parent in sorted(parents - {Path("/"), Path("/tmp")}):  # noqa: S108 - bubblewrap's own default is mode 0700
        arguments += ["--perms", "0755", "--dir", str(parent)]
    for folder in mounts.folders:
        arguments += ["--ro-bind", str(folder), str(folder)]
    return [*arguments, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"]
