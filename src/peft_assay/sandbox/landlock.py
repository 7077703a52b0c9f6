"""Walls without namespaces, for hosts that deny them: own unprivileged user where possible, and Landlock.

The worker confines itself with Landlock before it loads anything, each job child once more and tighter. What is
missing against namespaces: other processes' names are visible, and the network stack is shared (no job can make a
socket, though).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft_assay.core.digest import sha256
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.sandbox.interface import BackendName, Command, Mounts
from peft_assay.sandbox.namespace import program_path
from peft_assay.sandbox.privileges import can_become_nobody, drop_options
from peft_assay.sandbox.surroundings import ENVIRONMENT

NOWHERE = {"TORCHINDUCTOR_CACHE_DIR": "/"}
"""Nothing is writable; torch makes this folder, if it does not exist, while it is imported."""


@dataclass(frozen=True, slots=True)
class LandlockBackend:
    """setpriv when started by root, else nothing but the worker itself."""

    setpriv: str | None
    name: BackendName = "landlock"
    ceiling: IsolationLevel = IsolationLevel.PROCESS

    @classmethod
    def find(cls) -> "LandlockBackend":
        """Raises ObservationError when a program is missing."""
        return cls(program_path("setpriv", "util-linux") if can_become_nobody() else None)

    def command(self, worker: Sequence[str], mounts: Mounts) -> Command:
        """`worker`, told to confine itself, as an unprivileged user."""
        environment = ENVIRONMENT | NOWHERE | {"PYTHONPATH": ":".join(map(str, mounts.module_path))}
        dropped = [] if self.setpriv is None else [self.setpriv, *drop_options(), "--"]
        return Command((*dropped, *worker, "--confine-worker"), environment)

    def describe(self) -> Mapping[str, Any]:
        """Programs with digest."""
        programs = {} if self.setpriv is None else {self.setpriv: sha256(Path(self.setpriv).read_bytes())}
        return {"backend": self.name, "version": "", "programs": programs}
