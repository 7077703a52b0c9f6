"""Whether anything that must stay outside could be read inside: asked before a worker starts.

Paths are compared as the kernel knows them, by file system and place in it: a bind mount, a link or ``..`` makes
another path of the same folder, and no other folder.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from peft_assay.core.errors import ObservationError
from peft_assay.sandbox.interface import Mounts, Private

MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class _Place:
    """A path as the kernel knows it, by device."""

    device: str
    path: PurePosixPath

    def within(self, other: "_Place") -> bool:
        return self.device == other.device and self.path.is_relative_to(other.path)


class _Table:
    """The table of mounts (proc(5), mountinfo)."""

    def __init__(self, table: Path = MOUNTS) -> None:
        self._mounts: list[tuple[Path, _Place]] = []
        for line in table.read_text("utf-8", "surrogateescape").splitlines():
            fields = line.split(" ")
            self._mounts.append((Path(_plain(fields[4])), _Place(fields[2], PurePosixPath(_plain(fields[3])))))

    def place(self, path: Path) -> _Place:
        """Return the place of `path`, links followed; the later of two mounts on one folder hides the earlier."""
        real = path.resolve()
        over = [(point, root) for point, root in self._mounts if real.is_relative_to(point)]
        point, root = max(over, key=lambda one: len(one[0].parts), default=(Path("/"), _Place("", PurePosixPath("/"))))
        point, root = next((one for one in reversed(over) if one[0] == point), (point, root))
        return _Place(root.device, root.path / real.relative_to(point))

    def below(self, folder: Path) -> Iterator[_Place]:
        """Return the mounts within `folder`."""
        real = folder.resolve()
        yield from (root for point, root in self._mounts if point != real and point.is_relative_to(real))


def check_private(mounts: Mounts, private: Iterable[Private], table: Path = MOUNTS) -> None:
    """Raise ObservationError where a private path lies in a folder that can be read inside, or the other way round."""
    known = _Table(table)
    readable = [(folder, place) for folder in mounts.folders for place in (known.place(folder), *known.below(folder))]
    hidden = [known.place(path) for path in mounts.hidden]
    for one in private:
        if not one.path.exists():
            continue
        place = known.place(one.path)
        shown = _shown_in(place, readable, hidden)
        if shown is not None:
            raise _readable(one, f"it lies in {shown}, which the sandbox has to read")
        within = next((folder for folder, other in readable if one.whole and other.within(place)), None)
        if within is not None:
            raise _readable(one, f"{within}, which the sandbox has to read, lies in it")
        if linked := _linked(one.path, mounts.folders):
            raise _readable(one, f"it is the same file as {linked}, which the sandbox has to read (a hard link)")


def _shown_in(place: _Place, readable: Sequence[tuple[Path, _Place]], hidden: Sequence[_Place]) -> Path | None:
    """Return the readable folder that shows the file or folder at `place`, unless it is hidden there."""
    for folder, other in readable:
        covers = [cover for cover in hidden if cover != other and cover.within(other) and place.within(cover)]
        if place.within(other) and not covers:
            return folder
    return None


def _linked(path: Path, folders: Iterable[Path]) -> Path | None:
    """Return another name of the file within the readable folders; searched only where the file has several names."""
    status = path.stat()
    if path.is_dir() or status.st_nlink < 2:
        return None
    wanted = (status.st_dev, status.st_ino)
    for folder in folders:
        files = [str(folder)]
        if folder.is_dir():
            files = [os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names]  # noqa: PTH118
        for name in files:
            found = os.lstat(name)
            if (found.st_dev, found.st_ino) == wanted:
                return Path(name)
    return None


def _readable(one: Private, why: str) -> ObservationError:
    return ObservationError(
        f"adapters could read {one.called}: {why}",
        where=str(one.path),
        next_step=f"move {one.called} to a folder of its own, outside of libraries and of the base, and run again",
    )


def _plain(field: str) -> str:
    """Return a path without the escapes by which the kernel writes blanks and backslashes."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match.group(1), 8)), field)
