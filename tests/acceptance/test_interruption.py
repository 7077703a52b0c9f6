"""Ctrl-C and kill -9 in the middle: the workspace opens, its audit passes, no half certificate, no process left."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from acceptance.conftest import ZOO, Project

pytestmark = [pytest.mark.sandbox]
ADAPTERS = [str(ZOO / "adapters" / name) for name in ("ia3", "lora", "prefix", "prompt")]


def start(project: Project) -> subprocess.Popen[str]:
    return subprocess.Popen(
        project.command("certify", *ADAPTERS),
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def descendants(pid: int) -> set[int]:
    """All processes below `pid`, as /proc tells."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    todo = [pid]
    while todo:
        for child in children.get(todo.pop(), []):
            found.add(child)
            todo.append(child)
    return found


def gone(pids: set[int]) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        alive = {pid for pid in pids if Path(f"/proc/{pid}").exists() and not _zombie(pid)}
        if not alive:
            return True
        time.sleep(0.05)
    return False


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_for(process: subprocess.Popen[str], line: str) -> None:
    assert process.stderr is not None
    for text in process.stderr:
        if line in text:
            return
    raise AssertionError(f"{line!r} was never said")


@pytest.mark.parametrize(("line", "extra"), [("starting the sandbox", 0.5), ("ia3", 0.7), ("prefix", 0.3)])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle(project: Project, line: str, extra: float, how: signal.Signals) -> None:
    process = start(project)
    try:
        wait_for(process, line)
        time.sleep(extra)
        below = descendants(process.pid)
        os.kill(process.pid, how)
        _, rest = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == (130 if how is signal.SIGINT else -signal.SIGKILL)
    assert "Traceback" not in rest
    assert below, "the sandbox had started, or this test shows nothing"
    assert gone(below)
    certified = project.certificates()  # opens the workspace and audits every leaf and blob
    assert certified <= 3


def test_the_next_run_goes_on(project: Project) -> None:
    process = start(project)
    wait_for(process, "prefix")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=120)
    done = project.run("certify", *ADAPTERS)
    assert done.returncode == 0, done.stderr
    assert project.certificates() >= len(ADAPTERS)
    assert project.run("verify", *ADAPTERS).returncode == 0
