"""What was in force, as one canonical document: whoever signs an observation signs this with it.

It says what *this host's* supervisor built and saw. Without a hardware quote it proves nothing against the host itself.
"""

import os
import platform
from collections.abc import Mapping
from typing import Any

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import sha256
from peft_assay.core.sandbox import Capability, Limits
from peft_assay.sandbox.filters import compile_filters
from peft_assay.sandbox.interface import Backend, Mounts, Program, SandboxConfiguration
from peft_assay.sandbox.surroundings import files_digest, interpreter
from peft_assay.sandbox.worker import worker_arguments


def attest(
    backend: Backend,
    program: Program,
    mounts: Mounts,
    configuration: SandboxConfiguration,
    capability: Capability,
    landlock: int,
) -> Mapping[str, Any]:
    """The attestation: equal between two starts under equal conditions, different when anything below differs."""
    filters = compile_filters()
    command = backend.command(worker_arguments(program, configuration, "CONTROL"), mounts)
    return {
        "level": int(capability.level),
        "attacks": dict(capability.attacks),
        "walls": dict(backend.describe()),
        "command": canonical_digest([list(command.arguments), dict(command.environment)]),
        "mounts": canonical_digest([str(folder) for folder in mounts.folders]),
        "filters": {"policy": sha256(filters.policy), "seal": sha256(filters.seal)},
        "landlockAbi": landlock,
        "kernel": {"release": platform.release(), "machine": platform.machine()},
        "supervisorUid": os.geteuid(),
        "interpreter": sha256(interpreter().read_bytes()),
        "harness": files_digest(program.folders),
        "limits": limits_document(configuration.limits),
    }


def limits_document(limits: Limits) -> Mapping[str, Any]:
    """Ceilings of every job."""
    return {
        "wallSeconds": limits.wall_seconds,
        "cpuSeconds": limits.cpu_seconds,
        "memoryBytes": limits.memory_bytes,
        "outputBytes": limits.output_bytes,
    }
