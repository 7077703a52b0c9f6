"""Control groups: bounds on a worker and all its children together, where this host lets us make groups.

The limits of a process (setrlimit) count address space; they say nothing of the base's pages, which a forked child
shares until it writes to them. Only a group bounds those copies. Hosts differ: one hierarchy (v2), one for each
controller (v1), or none that the user may write to. Nothing here is required; `docs/concepts.md` says what it adds.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from peft_assay.core.errors import ObservationError

NEEDED = ("memory", "pids")
CONTROLLERS = (*NEEDED, "cpu")
PREFIX = "peft-assay-"
CPU_PERIOD_US = 100_000  # both versions' default
JOIN = (
    'n=$1; shift; while [ "$n" -gt 0 ]; do echo 0 > "$1/cgroup.procs" || exit 125; n=$((n-1)); shift; done; exec "$@"'
)
"""Enters the groups before the walls are built, so that every process behind them is in the groups from its start."""

_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What all processes of a group may use together."""

    processes: int
    cpus: float
    memory_bytes: int | None = None
    """None until it is known what the loaded base takes."""


WORKER_BOUNDS = Bounds(processes=64, cpus=1.0)
"""A worker has one thread, and so has a child; the walls themselves need a few processes."""
MEMORY_SLACK = 128 << 20
"""Page tables and kernel memory of a job, beyond its own limit."""


@dataclass(frozen=True, slots=True)
class Counters:
    """What the kernel counted in a group."""

    killed_for_memory: int
    refused_processes: int
    throttled: int


@dataclass(frozen=True, slots=True)
class _Names:
    """Files of one version's interface (Documentation/admin-guide/cgroup-v1/*, cgroup-v2.rst)."""

    memory: str
    swap: str
    used: str
    cpu: str
    memory_events: str
    cached: str
    """In memory.stat: what the kernel gives up first."""


_NAMES = {
    1: _Names(
        "memory.limit_in_bytes",
        "memory.memsw.limit_in_bytes",
        "memory.usage_in_bytes",
        "cpu.cfs_quota_us",
        "memory.oom_control",
        "total_inactive_file",
    ),
    2: _Names("memory.max", "memory.swap.max", "memory.current", "cpu.max", "memory.events", "inactive_file"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Folders in which groups can be made: one for all controllers (v2), or one for each (v1)."""

    version: int
    parents: Mapping[str, Path]

    def describe(self) -> Mapping[str, Any]:
        """For the attestation."""
        return {"version": self.version, "controllers": sorted(self.parents)}


class Group:
    """A group made for one worker, with `bounds` in force; removed by `close`."""

    def __init__(self, place: Place, bounds: Bounds) -> None:
        self.place = place
        self._names = _NAMES[place.version]
        name = f"{PREFIX}{os.getpid()}-{next(_numbers)}"
        self._at = {controller: parent / name for controller, parent in place.parents.items()}
        try:
            for folder in self._folders():
                folder.mkdir()
            self._write("pids", "pids.max", str(bounds.processes))
            if "cpu" in self._at:
                quota = str(round(bounds.cpus * CPU_PERIOD_US))
                self._write("cpu", self._names.cpu, quota if place.version == 1 else f"{quota} {CPU_PERIOD_US}")
            if bounds.memory_bytes is not None:
                self.bound_memory(bounds.memory_bytes)
        except OSError as error:
            self.close()
            raise ObservationError(f"a control group could not be made: {error.strerror}") from error

    def join(self, arguments: tuple[str, ...]) -> tuple[str, ...]:
        """`arguments` as a command that enters the group first."""
        folders = [str(folder) for folder in self._folders()]
        return ("/bin/sh", "-c", JOIN, "assay", str(len(folders)), *folders, *arguments)

    def bound_memory(self, memory_bytes: int) -> None:
        """Bounds memory, swapped memory included; raises OSError."""
        self._write("memory", self._names.memory, str(memory_bytes))
        with contextlib.suppress(OSError):  # swap is not accounted on every kernel
            self._write("memory", self._names.swap, str(memory_bytes if self.place.version == 1 else 0))

    def memory_in_use(self) -> int:
        """Bytes; raises OSError."""
        return int((self._at["memory"] / self._names.used).read_text("ascii"))

    def counters(self) -> Counters:
        """What the kernel counted so far; 0 where this kernel counts nothing."""
        return Counters(
            self._count("memory", self._names.memory_events, "oom_kill"),
            self._count("pids", "pids.events", "max"),
            self._count("cpu", "cpu.stat", "nr_throttled"),
        )

    def close(self) -> None:
        """Kills what is left in the group and removes it."""
        deadline = time.monotonic() + 2.0
        for folder in self._folders():
            while folder.exists() and time.monotonic() < deadline:
                _kill_all(folder)
                with contextlib.suppress(OSError):
                    folder.rmdir()
                    break
                time.sleep(0.005)  # the dead leave a group a moment after they are reaped

    def _folders(self) -> list[Path]:
        return sorted(set(self._at.values()))

    def _write(self, controller: str, name: str, value: str) -> None:
        (self._at[controller] / name).write_text(value, "ascii")

    def _count(self, controller: str, name: str, key: str) -> int:
        if controller not in self._at:
            return 0
        try:
            lines = (self._at[controller] / name).read_text("ascii").splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith(f"{key} ")), 0)


def find_place(process: Path = Path("/proc/self")) -> Place | None:
    """Where this process may make groups with bounds on memory and processes; None where it may not."""
    mounts, own = _groups_of(process)
    return next((place for place in _candidates(mounts, own) if _usable(place)), None)


@dataclass(frozen=True, slots=True)
class Room:
    """What the groups that a process is in leave it; None where none of them bounds it."""

    memory_bytes: int | None
    cpus: float | None


def find_room(process: Path = Path("/proc/self")) -> Room:
    """Of this process, by all its groups up to the topmost that it can see: a container's own bound is one of them."""
    mounts, own = _groups_of(process)
    memory, cpus = [], []
    for mount in mounts:
        for controller in ("memory", "cpu"):
            folder = _inside(mount, own.get(controller if mount.controllers else ""))
            if mount.controllers and controller not in mount.controllers:
                continue
            while folder is not None and folder.is_relative_to(mount.at):
                version = 1 if mount.controllers else 2
                if controller == "memory":
                    memory += _memory_left(folder, _NAMES[version])
                else:
                    cpus += _cpus_allowed(folder, _NAMES[version])
                folder = folder.parent
    return Room(min(memory, default=None), min(cpus, default=None))


def _memory_left(folder: Path, names: _Names) -> list[int]:
    """Bytes below the bound, those counted as free that only cache files; empty where there is no bound."""
    try:
        bound = (folder / names.memory).read_text("ascii").strip()
        if bound == "max":
            return []
        used = int((folder / names.used).read_text("ascii"))
        stat = dict(line.split(" ", 1) for line in (folder / "memory.stat").read_text("ascii").splitlines())
        return [max(0, int(bound) - max(0, used - int(stat.get(names.cached, 0))))]
    except (OSError, ValueError):
        return []


def _cpus_allowed(folder: Path, names: _Names) -> list[float]:
    """CPUs' worth of time; empty where there is no bound."""
    try:
        told = (folder / names.cpu).read_text("ascii").split()
        quota, period = told if len(told) == 2 else (told[0], (folder / "cpu.cfs_period_us").read_text("ascii"))
        return [] if quota == "max" or int(quota) <= 0 else [int(quota) / int(period)]
    except (OSError, ValueError, IndexError, ZeroDivisionError):
        return []


@dataclass(frozen=True, slots=True)
class _Mount:
    root: str
    at: Path
    controllers: frozenset[str]
    """Empty for the one hierarchy of v2."""


def _groups_of(process: Path) -> tuple[list[_Mount], dict[str, str]]:
    """The hierarchies that a process sees, and the groups that it is in; none where that cannot be read."""
    try:
        mounts = list(_mounts((process / "mountinfo").read_text("utf-8")))
        return mounts, dict(_memberships((process / "cgroup").read_text("utf-8")))
    except (OSError, UnicodeDecodeError):
        return [], {}


def _mounts(mountinfo: str) -> Iterator[_Mount]:
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, *_, options = right.split(" ")
        if kind in ("cgroup", "cgroup2"):
            fields = left.split(" ")
            known = frozenset(options.split(",")) & set(CONTROLLERS) if kind == "cgroup" else frozenset[str]()
            if known or kind == "cgroup2":
                yield _Mount(fields[3], Path(fields[4]), known)


def _memberships(cgroup: str) -> Iterator[tuple[str, str]]:
    """Controller, or the empty text for v2, and the path of the group that this process is in."""
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _candidates(mounts: list[_Mount], own: Mapping[str, str]) -> Iterator[Place]:
    for mount in mounts:
        folder = _inside(mount, own.get("")) if not mount.controllers else None
        # A group that holds processes cannot have groups with bounds below it (v2): look upwards for one that can.
        while folder is not None and folder.is_relative_to(mount.at):
            controllers = _enabled(folder)
            if set(NEEDED) <= controllers:
                yield Place(2, {name: folder for name in CONTROLLERS if name in controllers})
            folder = folder.parent
    parents = {}
    for mount in mounts:
        for controller in sorted(mount.controllers):
            if (folder := _inside(mount, own.get(controller))) is not None:
                parents[controller] = folder
    if set(NEEDED) <= set(parents):
        yield Place(1, parents)


def _inside(mount: _Mount, path: str | None) -> Path | None:
    """The folder of group `path` below `mount`, which may show only a part of the hierarchy."""
    if path is None or ".." in path or not Path(path).is_relative_to(mount.root):
        return None
    return mount.at / Path(path).relative_to(mount.root)


def _enabled(folder: Path) -> set[str]:
    try:
        return set((folder / "cgroup.subtree_control").read_text("ascii").split())
    except OSError:
        return set()


def _usable(place: Place) -> bool:
    if not all(os.access(folder, os.W_OK) for folder in place.parents.values()):
        return False
    for folder in set(place.parents.values()):
        _sweep(folder)
    try:
        group = Group(place, WORKER_BOUNDS)
    except ObservationError:
        return False
    group.close()
    return True


def _sweep(folder: Path) -> None:
    """Removes empty groups of supervisors that were killed; a group with processes in it cannot be removed."""
    with contextlib.suppress(OSError):
        for left in folder.glob(f"{PREFIX}*"):
            owner = left.name.removeprefix(PREFIX).partition("-")[0]
            if not Path("/proc", owner).exists():
                with contextlib.suppress(OSError):
                    left.rmdir()


def _kill_all(folder: Path) -> None:
    with contextlib.suppress(OSError):
        if (folder / "cgroup.kill").exists():
            (folder / "cgroup.kill").write_text("1", "ascii")
            return
        for process in (folder / "cgroup.procs").read_text("ascii").split():
            with contextlib.suppress(OSError):
                os.kill(int(process), 9)
