"""CPU seconds of a whole tree of processes, of those too that are killed and never waited for.

`time` and RUSAGE_CHILDREN miss a sandbox's worker: it is killed behind its walls, where nobody waits for it. So a
command is run in a control group of its own (cpuacct, v1), where the kernel counts whatever any of its processes uses.
Where no such group can be made, the tree is sampled instead, often; what a process uses between its last sample and its
end is then missed (SAMPLE_SECONDS at most, for each process), on both sides of a comparison alike.
"""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.05
TICK = os.sysconf("SC_CLK_TCK")
JOIN = 'echo 0 > "$1/cgroup.procs" || exit 125; shift; exec "$@"'


@dataclass(frozen=True, slots=True)
class Metered:
    """One command that ended well."""

    cpu: float
    wall: float
    output: str


def metered(arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> Metered:
    """Runs `arguments` in `folder`; raises SystemExit with what it said when it fails."""
    group = _make_group()
    command = list(arguments) if group is None else ["/bin/sh", "-c", JOIN, "meter", str(group), *arguments]
    started = time.perf_counter()
    with (folder / "stderr.log").open("w+b") as errors:
        process = subprocess.Popen(command, env=dict(environment), cwd=folder, stdout=subprocess.PIPE, stderr=errors)
        sampler = _Sampler(process.pid) if group is None else None
        output, _ = process.communicate()
        wall = time.perf_counter() - started
        cpu = 0.0 if sampler is None else sampler.stop()
        if group is not None:
            cpu = _used(group)
            _remove(group)
        errors.seek(0)
        said = errors.read().decode("utf-8", "replace")
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)[:300]} ended with {process.returncode}: {said[-3000:]}")
    return Metered(cpu, wall, output.decode())


def how() -> str:
    """By what means CPU time is counted on this host."""
    group = _make_group()
    if group is None:
        return f"by sampling /proc every {SAMPLE_SECONDS:g} s (no cpuacct group can be made here)"
    _remove(group)
    return "by the kernel, in a control group (cpuacct) for each command"


def _make_group() -> Path | None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, *_, options = right.split(" ")
        if kind == "cgroup" and "cpuacct" in options.split(","):
            parent = Path(left.split(" ")[4])
            if len({"cpu", "memory", "pids"} & set(options.split(","))):
                return None  # mounted together with what the sandbox makes its own groups in: workers would leave ours
            group = parent / f"bench-{os.getpid()}-{time.monotonic_ns()}"
            with contextlib.suppress(OSError):
                group.mkdir()
                return group
    return None


def _used(group: Path) -> float:
    return int((group / "cpuacct.usage").read_text()) / 1e9


def _remove(group: Path) -> None:
    for _ in range(100):  # the dead leave a group a moment after they are reaped
        with contextlib.suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.02)


class _Sampler:
    """Follows a tree of processes; one that was seen once is followed also when its parent has ended."""

    def __init__(self, root: int) -> None:
        self._seen: dict[tuple[int, str], float] = {}
        self._alive = {root}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        self._stopped.set()
        self._thread.join()
        return sum(self._seen.values())

    def _follow(self) -> None:
        while not self._stopped.wait(SAMPLE_SECONDS):
            table = dict(_processes())
            self._alive &= set(table)
            grown = True
            while grown:
                below = {pid for pid, facts in table.items() if facts.parent in self._alive} - self._alive
                self._alive |= below
                grown = bool(below)
            for pid in self._alive:
                self._seen[pid, table[pid].started] = table[pid].own


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    started: str
    own: float
    """CPU seconds, without children."""
    waited: float
    """CPU seconds of children that it has waited for."""


def _processes() -> Iterator[tuple[int, _Process]]:
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        user, system, waited_user, waited_system = (int(field) / TICK for field in fields[11:15])
        yield int(entry.name), _Process(int(fields[1]), fields[19], user + system, waited_user + waited_system)


def descendants(root: int) -> list[int]:
    """Processes below `root` that are alive."""
    table = dict(_processes())
    found = [root]
    for process in found:
        found.extend(pid for pid, facts in table.items() if facts.parent == process)
    return found[1:]


def cpu_until_now() -> float:
    """CPU seconds of this process, of its children and of what they have waited for, so far."""
    table = dict(_processes())
    times = os.times()
    below = sum(table[pid].own + table[pid].waited for pid in descendants(os.getpid()) if pid in table)
    return times.user + times.system + times.children_user + times.children_system + below


def resident_bytes(process: int) -> int:
    """What of a process is in memory; 0 where it has ended."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
