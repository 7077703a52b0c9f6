"""Opens the strongest sandbox that this host allows, and says what is missing where it is not the strongest."""

import platform
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.sandbox.allowlist import listed_backends
from peft_assay.sandbox.cgroups import Place, find_place
from peft_assay.sandbox.enclosure import check_private
from peft_assay.sandbox.filters import compile_filters
from peft_assay.sandbox.interface import NO_WALLS, Backend, BackendName, Mounts, Program, SandboxConfiguration
from peft_assay.sandbox.landlock import LandlockBackend
from peft_assay.sandbox.microsuite import ATTACKS, Findings, attack_program, try_attacks
from peft_assay.sandbox.namespace import NamespaceBackend
from peft_assay.sandbox.nowalls import NoWalls
from peft_assay.sandbox.remedies import group_remedy, remedy_for
from peft_assay.sandbox.strain import strain_program, try_place
from peft_assay.sandbox.supervisor import Supervisor
from peft_assay.sandbox.surroundings import harness_program, mounts_for

BACKENDS: dict[BackendName, Callable[[], Backend]] = {
    "namespace": NamespaceBackend.find,
    "landlock": LandlockBackend.find,
}
"""The built-in ones, strongest first. Others come from a named allow-list, never from whatever is installed."""

DOCTOR = "peft-assay doctor names what a higher level needs here"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Walls that have shown their level; any number of workers can be started behind them."""

    backend: Backend
    program: Program
    mounts: Mounts
    configuration: SandboxConfiguration
    findings: Findings
    missing: tuple[str, ...]
    place: Place | None

    def supervise(self) -> Supervisor:
        """A sandbox of its own behind these walls, for the thread that calls this."""
        return Supervisor(
            self.backend,
            self.program,
            self.mounts,
            self.configuration,
            self.findings,
            self.missing,
            place=self.place,
        )


def open_sandbox(
    configuration: SandboxConfiguration, *, force: BackendName | None = None, allow_unsafe: bool = False
) -> Supervisor:
    """The first backend whose start-up attacks reach the configured minimum level.

    `force` (or the configuration's `backend`) tries that one only. Raises ObservationError naming what each backend
    lacks and the command that supplies it; never falls below the minimum silently. `allow_unsafe` is for developing
    peft-assay: where nothing reaches the minimum, or ``none`` is forced, there are no walls at all, the level is NONE,
    and nothing that was observed can activate anything.
    """
    return choose(configuration, force=force, allow_unsafe=allow_unsafe).supervise()


def choose(
    configuration: SandboxConfiguration, *, force: BackendName | None = None, allow_unsafe: bool = False
) -> Chosen:
    """As `open_sandbox`, without a sandbox yet."""
    if platform.system() != "Linux":
        raise ObservationError(
            f"adapters can be exercised on Linux only, this is {platform.system()}: there are no namespaces, no "
            "seccomp and no Landlock",
            next_step="run in a Linux container or virtual machine",
        )
    only = force or configuration.backend
    if only == NO_WALLS and not allow_unsafe:
        raise ObservationError(
            "without walls nothing is exercised", next_step="leave the backend out; the strongest that works is taken"
        )
    compile_filters()
    program = harness_program()
    mounts = replace(mounts_for(program, configuration.base.absolute()), devices=configuration.device.nodes)
    check_private(mounts, configuration.private)
    lacking: dict[BackendName, str] = {}
    for backend in () if only == NO_WALLS else _backends(only, lacking):
        found = _try(Chosen(backend, program, mounts, configuration, Findings({}, 0), (), None), lacking)
        if found is not None:
            return found
    if allow_unsafe:
        unstopped = Findings(dict.fromkeys(ATTACKS, False), 0)
        return Chosen(NoWalls(), program, mounts, configuration, unstopped, tuple(lacking.values()), None)
    raise ObservationError(
        f"no sandbox reaches isolation level {configuration.minimum_level.name.lower()}: {'; '.join(lacking.values())}",
        next_step="apt install bubblewrap, and allow user namespaces (or run as root)",
    )


def _backends(only: BackendName | None, lacking: dict[BackendName, str]) -> Iterator[Backend]:
    """Backends to try, in order; what cannot even be made goes to `lacking`."""
    listed, _ = listed_backends()
    makers = {**listed, **BACKENDS}
    if only is not None and only not in makers:
        known = ", ".join(makers)
        raise ObservationError(f"there is no backend {only!r}", next_step=f"use one of: {known}")
    for name in (only,) if only is not None else makers:
        try:
            backend = makers[name]()
        except ObservationError as error:
            lacking[name] = _why(name, error)
            continue
        yield backend
        if isinstance(backend, NamespaceBackend):
            yield backend.without_proc()


def _try(candidate: Chosen, lacking: dict[BackendName, str]) -> Chosen | None:
    backend, configuration = candidate.backend, candidate.configuration
    name = backend.name
    with ThreadPoolExecutor(1, "group") as thread:
        strained = thread.submit(_strained, candidate)  # which takes longer than all attacks
        try:
            findings = try_attacks(backend, attack_program(candidate.program), candidate.mounts, configuration)
        except ObservationError as error:
            lacking.setdefault(name, _why(name, error))
            return None
        found = replace(candidate, findings=findings)
        if findings.level(backend.ceiling) is not IsolationLevel.NONE:
            found = _with_group(found, *strained.result())
    level = found.findings.level(backend.ceiling)
    if level < configuration.minimum_level or level is IsolationLevel.NONE:
        lacking[name] = f"{name}: {_shortfall(found, level)}"
        return None
    lacking.pop(name, None)  # another variant of the same walls works, at no lower level
    return replace(found, missing=(*lacking.values(), *found.missing))


def _why(name: BackendName, error: ObservationError) -> str:
    return f"{name}: {error.message} ({error.next_step or remedy_for(name)})"


def _strained(candidate: Chosen) -> tuple[Place | None, Mapping[str, bool], str | None]:
    """Where control groups can be made, which of their bounds bite, and why they are of no use, where they are not."""
    place = find_place()
    if place is None:
        return None, {}, None
    program = strain_program(candidate.program)
    return place, *try_place(candidate.backend, program, candidate.mounts, candidate.configuration, place)


def _with_group(candidate: Chosen, place: Place | None, bounds: Mapping[str, bool], problem: str | None) -> Chosen:
    """With a control group, where one can be made and bites; with what is missing, where it would raise the level."""
    raised = candidate.findings.level(candidate.backend.ceiling) >= IsolationLevel.NAMESPACE
    if place is None:
        missing = (f"control group: this user cannot make one ({group_remedy()})",) if raised else ()
        return replace(candidate, missing=missing)
    if problem is not None:
        missing = (f"control group: {problem} ({group_remedy()})",) if raised else ()
        return replace(candidate, missing=missing)
    return replace(candidate, place=place, findings=replace(candidate.findings, bounds=bounds))


def _shortfall(found: Chosen, level: IsolationLevel) -> str:
    not_stopped = sorted(attack for attack, stopped in found.findings.stopped.items() if not stopped)
    said = f"reaches level {level.name.lower()} only, not stopped: {', '.join(not_stopped) or 'nothing'}"
    if not_stopped:
        remedy = DOCTOR if level is not IsolationLevel.NONE else remedy_for(found.backend.name)
        return f"{said} ({remedy})"
    return f"{said}; {'; '.join(found.missing)}" if found.missing else said
