"""Workers that run, found from outside by their command lines."""

import time
from pathlib import Path


def workers(base):
    """Processes whose command line names this base and the worker."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if str(base).encode() in line and b"--control" in line:
            found.append(int(entry.name))
    return found


def left_of(base):
    """What still runs a moment later; a worker that only loads its base would go on for longer."""
    deadline = time.monotonic() + 10
    while workers(base) and time.monotonic() < deadline:
        time.sleep(0.02)
    return workers(base)
