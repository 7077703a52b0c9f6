"""Shows whether a control group's bounds bite, through the same launcher as workers that meet adapters."""

from collections.abc import Mapping

from peft_assay.core.errors import ObservationError
from peft_assay.sandbox.cgroups import Bounds, Counters, Place
from peft_assay.sandbox.interface import Backend, Mounts, Program, SandboxConfiguration
from peft_assay.sandbox.microsuite import GROUP_BOUNDS
from peft_assay.sandbox.worker import Worker

TIGHT = Bounds(processes=16, cpus=0.5, memory_bytes=96 << 20)
"""Less than what the straining worker tries to use."""


def strain_program(harness: Program) -> Program:
    """The straining worker: same packages, another module."""
    return Program(f"{harness.module}.strain", harness.folders)


def try_bounds(
    backend: Backend, program: Program, mounts: Mounts, configuration: SandboxConfiguration, place: Place
) -> Mapping[str, bool]:
    """Bound -> did the kernel count that it held? Raises ObservationError when the worker does not start there."""
    worker = Worker(backend, program, mounts, configuration, place=place, bounds=TIGHT)
    try:
        counters = Counters(0, 0, 0) if worker.group is None else worker.group.counters()
    finally:
        worker.kill()
    return shown(counters, place)


def shown(counters: Counters, place: Place) -> Mapping[str, bool]:
    """What the counters of a strained group say."""
    bites = {"memory": counters.killed_for_memory > 0, "processes": counters.refused_processes > 0}
    return bites | ({"cpu": counters.throttled > 0} if "cpu" in place.parents else {})


def try_place(
    backend: Backend, program: Program, mounts: Mounts, configuration: SandboxConfiguration, place: Place
) -> tuple[Mapping[str, bool], str | None]:
    """`try_bounds`, and why the group cannot be used, where it cannot: a group is never required."""
    try:
        bounds = try_bounds(backend, program, mounts, configuration, place)
    except ObservationError as error:
        return {}, error.message
    slack = sorted(name for name in GROUP_BOUNDS if not bounds[name])
    return bounds, f"these bounds did not hold: {', '.join(slack)}" if slack else None
