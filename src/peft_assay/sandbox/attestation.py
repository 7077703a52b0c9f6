"""What was in force, as one canonical document: whoever signs an observation signs this with it.

It says what *this host's* supervisor built and saw. Without a hardware quote it proves nothing against the host itself.
"""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest, sha256
from peft_assay.core.sandbox import Capability, Limits
from peft_assay.sandbox.cgroups import MEMORY_SLACK, WORKER_BOUNDS, Place
from peft_assay.sandbox.devices import exposure
from peft_assay.sandbox.filters import UNFILTERED, compile_filters
from peft_assay.sandbox.interface import Backend, Mounts, Program, SandboxConfiguration
from peft_assay.sandbox.microsuite import Findings
from peft_assay.sandbox.packages import LIBRARIES
from peft_assay.sandbox.surroundings import files_digest, interpreter
from peft_assay.sandbox.worker import worker_arguments

FORKED = "forked"
FRESH = "fresh"
FRESH_FOR_DEVICE = "fresh: the context of a device does not survive a fork"


@dataclass(frozen=True, slots=True)
class InForce:
    """What a supervisor knows of itself when it attests."""

    capability: Capability
    findings: Findings
    place: Place | None
    """Where control groups are made; None for no groups."""
    processes: str
    """``forked`` from a warmed worker, or ``fresh`` for each job, and why."""
    base_state: str | None
    """None until a worker has loaded the base."""
    sentinel: str | None
    """Digest of the reference adapter's answers; None where there is no reference."""


def attest(
    backend: Backend, program: Program, mounts: Mounts, configuration: SandboxConfiguration, force: InForce
) -> Mapping[str, Any]:
    """The attestation: equal between two starts under equal conditions, different when anything below differs."""
    filters = compile_filters(devices=bool(mounts.devices))
    arguments = worker_arguments(program, configuration, "CONTROL", fresh=force.processes != FORKED)
    command = backend.command(arguments, mounts)
    return {
        "level": int(force.capability.level),
        "attacks": dict(force.capability.attacks),
        "unseen": list(force.findings.unseen),
        "walls": dict(backend.describe()),
        "command": canonical_digest([list(command.arguments), dict(command.environment)]),
        "mounts": canonical_digest([list(map(str, paths)) for paths in (mounts.folders, mounts.hidden)]),
        "filters": {"policy": sha256(filters.policy), "seal": sha256(filters.seal)},
        "unfiltered": sorted(UNFILTERED.get(platform.machine(), {})),
        "landlockAbi": force.findings.landlock,
        "controlGroup": group_document(force),
        "kernel": kernel_document(),
        "supervisorUid": os.geteuid(),
        "interpreter": sha256(interpreter().read_bytes()),
        "environment": environment_digest(),
        "harness": files_digest(program.folders),
        "processes": force.processes,
        "base": {"state": force.base_state},
        "sentinel": force.sentinel,
        "devices": exposure(mounts.devices),
        "limits": limits_document(configuration.limits),
    }


def group_document(force: InForce) -> Mapping[str, Any] | None:
    """Which bounds on all processes together are in force, and which were seen to bite."""
    if force.place is None:
        return None
    bounds = {"processes": WORKER_BOUNDS.processes, "cpus": WORKER_BOUNDS.cpus, "memorySlackBytes": MEMORY_SLACK}
    return {**force.place.describe(), "bounds": bounds, "bite": dict(force.findings.bounds)}


def kernel_document() -> Mapping[str, Any]:
    """The kernel that all of this relies on."""
    try:
        modules = Path("/sys/kernel/security/lsm").read_text("ascii").strip()
    except OSError:
        modules = ""  # securityfs is not mounted everywhere
    return {
        "release": platform.release(),
        "version": platform.version(),
        "machine": platform.machine(),
        "securityModules": modules,
    }


@cache
def environment_digest() -> Digest:
    """Digest over the installed libraries' own records of their files (the RECORD of the wheel specification)."""
    records = {}
    for name in LIBRARIES:
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        records[name] = [found.version, sha256((found.read_text("RECORD") or "").encode())]
    return canonical_digest(records)


def limits_document(limits: Limits) -> Mapping[str, Any]:
    """Ceilings of every job."""
    return {
        "wallSeconds": limits.wall_seconds,
        "cpuSeconds": limits.cpu_seconds,
        "memoryBytes": limits.memory_bytes,
        "outputBytes": limits.output_bytes,
    }
