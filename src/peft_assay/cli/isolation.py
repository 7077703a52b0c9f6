"""`--isolation`: which sandbox to start. It can only choose among those that show their level; none can be skipped."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from peft_assay.core.sandbox import Sandbox
    from peft_assay.pipeline.certify import OpenSandbox
    from peft_assay.pipeline.project import Project


class Backend(StrEnum):
    """The sandbox backends that ship with peft-assay."""

    NAMESPACE = "namespace"
    LANDLOCK = "landlock"


Isolation = Annotated[
    Backend | None,
    typer.Option("--isolation", help="Sandbox to use. Default: the strongest that works here; the level is recorded."),
]


def sandbox_opener(backend: Backend | None) -> "OpenSandbox":
    """How to start the sandbox for a project's base."""

    def open_for(project: "Project") -> "Sandbox":
        from peft_assay.core.sandbox import IsolationLevel
        from peft_assay.sandbox.choose import open_sandbox
        from peft_assay.sandbox.interface import SandboxConfiguration

        configuration = SandboxConfiguration(
            base=project.base_path,
            dtype=project.context.engine.dtype,
            minimum_level=IsolationLevel(project.context.minimum_isolation),
        )
        return open_sandbox(configuration, force=None if backend is None else backend.value)

    return open_for
