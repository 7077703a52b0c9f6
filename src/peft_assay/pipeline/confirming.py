"""Check again, while an adapter is active, whether it is still permitted: lists, waivers, verdicts and keys.

The check runs every few seconds within a forward pass. It reads the times of a handful of files; only where
one changed are workspace and lists opened and the gate's checks run, on the evidence as it is now. The project is not
read again: another context is another permission.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from peft_assay.core.errors import StorageError
from peft_assay.gate.authorize import confirm
from peft_assay.gate.interface import Evidence
from peft_assay.pipeline.deployment import Clock, Deployment
from peft_assay.pipeline.evidence import renewed
from peft_assay.trust.anchor import TRUST_FILE

SETTLED_NS = 2_000_000_000
"""The age of a file's time that distinguishes it from a later write: file systems count in steps of up to a second."""

Stamp = tuple[tuple[str, int, int, int], ...]


class Confirming:
    """The check, with the file times that it saw last."""

    def __init__(self, deployment: Deployment, evidence: Evidence, clock: Clock) -> None:
        self.deployment, self.evidence, self.clock = deployment, evidence, clock
        self.seen: Stamp | None = None

    def look(self) -> None:
        """Raise ActivationDenied or TrustError as the gate does now; StorageError where that cannot be known."""
        stamp = self._stamp()
        if stamp == self.seen:
            return
        self.seen = None
        with self.deployment.again() as now:
            confirm(renewed(now, self.evidence), now.anchor, self.clock())
        self.seen = self._settled(stamp)

    def _settled(self, stamp: Stamp) -> Stamp | None:
        """Return `stamp`, or None where a file is so young that another write may get the same time."""
        if stamp != self._stamp():
            return None
        newest = max((written for _, written, _, _ in stamp), default=0)
        return stamp if _now_ns() - newest > SETTLED_NS else None

    def _stamp(self) -> Stamp:
        return tuple(_entries(self.deployment))


def _entries(deployment: Deployment) -> Iterator[tuple[str, int, int, int]]:
    """Name, time, size and number of each file that the look reads."""
    location = deployment.location
    try:
        yield _entry(location.folder / TRUST_FILE)
        for folder in (deployment.workspace.folder, location.state):
            for path in sorted(folder.rglob("*") if folder == location.state else folder.iterdir()):
                if path.is_file():
                    yield _entry(path)
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=str(error.filename)) from None


def _entry(path: Path) -> tuple[str, int, int, int]:
    found = path.stat()
    return str(path), found.st_mtime_ns, found.st_size, found.st_ino


def _now_ns() -> int:
    """Return the time of the host, which the file system uses too, even where a caller gives another clock."""
    return time.time_ns()
