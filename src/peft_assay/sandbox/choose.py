"""Opens the strongest sandbox that this host allows, and says what is missing where it is not the strongest."""

import platform
from collections.abc import Callable

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.sandbox.filters import compile_filters
from peft_assay.sandbox.interface import Backend, BackendName, Program, SandboxConfiguration
from peft_assay.sandbox.landlock import LandlockBackend
from peft_assay.sandbox.microsuite import Findings, attack_program, try_attacks
from peft_assay.sandbox.namespace import NamespaceBackend
from peft_assay.sandbox.supervisor import Supervisor
from peft_assay.sandbox.surroundings import harness_program, mounts_for

BACKENDS: dict[BackendName, Callable[[], Backend]] = {
    "namespace": NamespaceBackend.find,
    "landlock": LandlockBackend.find,
}
"""A named allow-list, strongest first; never whatever happens to be installed."""

REMEDIES: dict[BackendName, str] = {
    "namespace": "allow user namespaces: sysctl user.max_user_namespaces, or AppArmor's profile bwrap-userns-restrict",
    "landlock": "boot a kernel with Landlock (5.13 or newer, lsm=landlock,...)",
}


def open_sandbox(configuration: SandboxConfiguration, *, force: BackendName | None = None) -> Supervisor:
    """The first backend whose start-up attacks reach the configured minimum level.

    `force` (or the configuration's `backend`) tries that one only. Raises ObservationError naming what each backend
    lacks and the command that supplies it; never falls below the minimum silently.
    """
    if platform.system() != "Linux":
        raise ObservationError(
            f"adapters can be exercised on Linux only, this is {platform.system()}",
            next_step="run in a Linux container or virtual machine",
        )
    compile_filters()
    program = harness_program()
    only = force or configuration.backend
    lacking: list[str] = []
    for name in (only,) if only is not None else BACKENDS:
        found = _try(name, program, configuration, lacking)
        if found is not None:
            return found
    raise ObservationError(
        f"no sandbox reaches isolation level {configuration.minimum_level.name.lower()}: {'; '.join(lacking)}",
        next_step="apt install bubblewrap, and allow user namespaces (or run as root)",
    )


def _try(
    name: BackendName, program: Program, configuration: SandboxConfiguration, lacking: list[str]
) -> Supervisor | None:
    mounts = mounts_for(program, configuration.base.absolute())
    try:
        backend = BACKENDS[name]()
        findings = try_attacks(backend, attack_program(program), mounts, configuration)
    except ObservationError as error:
        lacking.append(f"{name}: {error.message} ({error.next_step or REMEDIES[name]})")
        return None
    level = findings.level(backend.ceiling)
    if level < configuration.minimum_level or level is IsolationLevel.NONE:
        lacking.append(f"{name}: {_shortfall(findings, level)} ({REMEDIES[name]})")
        return None
    return Supervisor(backend, program, mounts, configuration, findings, tuple(lacking))


def _shortfall(findings: Findings, level: IsolationLevel) -> str:
    not_stopped = sorted(attack for attack, stopped in findings.stopped.items() if not stopped)
    return f"reaches level {level.name.lower()} only, not stopped: {', '.join(not_stopped) or 'nothing'}"
