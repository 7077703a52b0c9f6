"""No walls at all, for developing peft-assay where no sandbox works. What it observes is of level NONE.

The gate takes the stricter of the anchor's minimum and the context's, and no context can ask for less than `process`.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peft_assay.core.sandbox import IsolationLevel
from peft_assay.sandbox.interface import NO_WALLS, BackendName, Command, Mounts
from peft_assay.sandbox.privileges import can_become_nobody, drop_options
from peft_assay.sandbox.surroundings import ENVIRONMENT


@dataclass(frozen=True, slots=True)
class NoWalls:
    """The worker as an ordinary process, its children without filter and Landlock."""

    name: BackendName = NO_WALLS
    ceiling: IsolationLevel = IsolationLevel.NONE

    def command(self, worker: Sequence[str], mounts: Mounts) -> Command:
        """`worker`, told not to confine its children; as an unprivileged user where that is easily done."""
        environment = ENVIRONMENT | {"PYTHONPATH": ":".join(map(str, mounts.module_path))}
        setpriv = shutil.which("setpriv") if can_become_nobody() else None
        dropped = [] if setpriv is None else [setpriv, *drop_options(), "--"]
        return Command((*dropped, *worker, "--unconfined"), environment)

    def describe(self) -> Mapping[str, Any]:
        """Nothing builds any walls."""
        return {"backend": self.name, "version": "", "programs": {}}
