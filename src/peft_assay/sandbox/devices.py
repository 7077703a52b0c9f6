"""What children compute on besides the processor, and what showing it to them exposes.

A GPU's context does not survive a fork, so each job then has a process of its own. A driver's nodes are a wide door
to the kernel, wherever they are shown: which ones were is in the attestation (`devices`), for a policy to judge.

Run so far with nodes that every Linux has; on a GPU nobody has run it.
"""

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft_assay.core.errors import ObservationError

CPU = "cpu"
CUDA = "cuda"
CUDA_NODES = ("nvidiactl", "nvidia-uvm", "nvidia[0-9]*")
DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True)
class Device:
    """Where the base and adapters are computed."""

    name: str = CPU
    """As torch calls it."""
    nodes: tuple[Path, ...] = ()
    """Device nodes that the inside is shown, to be opened before it meets an adapter."""


def find_device(name: str, folder: Path = Path("/dev")) -> Device:
    """The device that torch calls `name`; raises ObservationError where this host has none."""
    if name == CPU:
        return Device()
    nodes = tuple(sorted({path for pattern in CUDA_NODES for path in folder.glob(pattern) if _is_node(path)}))
    if name != CUDA or not nodes:
        raise ObservationError(
            f"there is no device {name!r} here: no node of a driver in {folder}",
            next_step="install the driver and give the container its devices, or leave `device` out of sandbox.yaml",
        )
    return Device(name, nodes)


def exposure(nodes: Sequence[Path], driver: Path = DRIVER) -> list[Mapping[str, Any]]:
    """For the attestation: each node with its numbers, and the driver behind them; raises ObservationError."""
    if not nodes:
        return []
    try:
        version = driver.read_text("utf-8").splitlines()[0].strip()
    except (OSError, UnicodeDecodeError, IndexError):
        version = ""  # only NVIDIA's driver has this file
    try:
        numbers = {str(node): node.stat().st_rdev for node in nodes}
    except OSError as error:
        raise ObservationError(f"a device cannot be examined: {error}") from error
    return [
        {"node": node, "major": os.major(number), "minor": os.minor(number), "driver": version}
        for node, number in sorted(numbers.items())
    ]


def _is_node(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False
