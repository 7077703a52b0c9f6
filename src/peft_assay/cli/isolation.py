"""`--isolation`: which sandbox to start, among those that show their level. ``none`` is for developing peft-assay.

What is observed without walls is signed as of level NONE. No anchor and no context can ask for less than `process`, so
that the gate denies it whatever the policy says.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peft_assay.cli import output
from peft_assay.pipeline.documents import AssayDocument, read_assay

if TYPE_CHECKING:
    from peft_assay.core.sandbox import Limits, Sandbox
    from peft_assay.pipeline.certify import OpenSandbox
    from peft_assay.pipeline.place import Place
    from peft_assay.pipeline.project import Project
    from peft_assay.sandbox.choose import Chosen
    from peft_assay.sandbox.interface import SandboxConfiguration

WITHOUT_WALLS = "no walls: adapters run as ordinary processes here, and the gate denies what is observed so"


JUDGING_SECONDS = 86_400.0
"""Most that judges may add to a job's time."""


class Backend(StrEnum):
    """The sandbox backends that ship with peft-assay, and going without one."""

    NAMESPACE = "namespace"
    LANDLOCK = "landlock"
    NONE = "none"


Isolation = Annotated[
    Backend | None,
    typer.Option(
        "--isolation",
        help="Sandbox to use. Default: the strongest that works here; the level is recorded. `none` is for developing "
        "peft-assay with adapters that you wrote: no walls, and nothing that was observed so can activate anything.",
    ),
]


ADAPTERS_PER_WORKER = 4
"""Fewer are not worth another worker, whose start costs about as much as one or two of them, on small bases."""

Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        "-w",
        min=1,
        metavar="N",
        help="Adapters that are exercised at the same time, each worker with a copy of the base. Default: one for each "
        f"{ADAPTERS_PER_WORKER} adapters, as far as cores and memory go. Certificates do not depend on it; where "
        "`behaviour.latency` is declared, adapters are timed one after another.",
    ),
]


def sandbox_opener(
    backend: Backend | None, workers: int | None = None, *, ahead: "Place | None" = None
) -> "OpenSandbox":
    """How to start the sandbox for a project's base.

    `ahead` says where to act: the walls for its peft-assay.yaml are tried from now on, while the caller reads all the
    rest, and its workspace and trust anchor must stay outside. Raises DocumentError for what is wrong in the document.
    """
    path = None if ahead is None else ahead.context_path()
    document = None if path is None else read_assay(path)
    trying = None if path is None or document is None else _begin(document, path, backend, ahead)

    def open_for(project: "Project", adapters: int) -> "Sandbox":
        from peft_assay.sandbox.pool import SandboxPool

        if backend is Backend.NONE:
            output.note(WITHOUT_WALLS)
        same = (path, document) == (project.path, project.document)  # it is read again, and may have been edited
        tried = (trying if trying and same else _begin(project.document, project.path, backend, ahead)).result()
        chosen = replace(tried, configuration=replace(tried.configuration, limits=_ceilings(project)))
        size = _size(workers, adapters, chosen.configuration)
        return chosen.supervise() if size == 1 else SandboxPool(chosen, size)

    return open_for


def _begin(document: AssayDocument, path: Path, backend: Backend | None, place: "Place | None") -> "Future[Chosen]":
    """Walls for the base that `document`, read from `path`, names; attacks show what they are worth."""
    from peft_assay.core.sandbox import IsolationLevel
    from peft_assay.pipeline.base_place import base_folder
    from peft_assay.pipeline.secluded import private_paths
    from peft_assay.sandbox.allowlist import configured_device
    from peft_assay.sandbox.choose import choose
    from peft_assay.sandbox.interface import JOBS_PER_WORKER, SandboxConfiguration

    def chosen() -> "Chosen":
        configuration = SandboxConfiguration(
            base=base_folder(document, path),
            dtype=document.context.engine.dtype,
            task=document.context.base.task,
            minimum_level=IsolationLevel(document.context.minimumIsolation),
            device=configured_device(),
            private=private_paths(document, path, place),
            sentinel_every=JOBS_PER_WORKER,  # whoever signs asks before it does (pipeline.waves)
        )
        force = None if backend is None else backend.value
        return choose(configuration, force=force, allow_unsafe=backend is Backend.NONE)

    return ThreadPoolExecutor(1, "walls").submit(chosen)


def _size(workers: int | None, adapters: int, configuration: "SandboxConfiguration") -> int:
    """How many workers, at most; a device is one, whoever asks for more."""
    from peft_assay.sandbox.devices import CPU
    from peft_assay.sandbox.pool import workers_that_fit

    if configuration.device.name != CPU:
        return 1
    if workers is not None:
        return min(workers, max(1, adapters))
    return max(1, min(adapters // ADAPTERS_PER_WORKER, workers_that_fit(configuration.base)))


def _ceilings(project: "Project") -> "Limits":
    """The project's limits, with room for judges, which a run adds to the time of each job."""
    judged = any(suite.scorer.judge is not None for suite in project.suites)
    return replace(project.limits, wall_seconds=project.limits.wall_seconds + (JUDGING_SECONDS if judged else 0.0))
