"""Walks folders and finds what may be adapters, reading no more than the beginning of a file.

Bounded in depth and number, by directory descriptors and without following links. The one exception is that of intake
itself: a Hugging Face cache's snapshots are links of a fixed form into the same repository's folder of blobs
(https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
"""

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from peft_assay.core.artifact import CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.content import Content
from peft_assay.intake.glimpse import beginning, glimpse
from peft_assay.intake.paths import IGNORED_NAMES

MARKS = frozenset({CONFIG_FILE, WEIGHTS_FILE, "adapter_model.bin", "adapters.safetensors", "adapters.npz",
                   "pytorch_lora_weights.safetensors", "pytorch_adapter.bin"})  # fmt: skip
"""A folder that holds one of these is told."""
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_BLOB = re.compile(r"(?:\.\./)+blobs/([0-9a-f]{40}|[0-9a-f]{64})")
_REPOSITORY = re.compile(r"models--([A-Za-z0-9._-]{1,200})")
_COMMIT = re.compile(r"[0-9a-f]{40}")
MAX_REFERENCES = 100
"""Branches and tags of one cached repository that are read."""


@dataclass(frozen=True, slots=True)
class SurveyLimits:
    """Where a walk ends. What was not looked at is told."""

    depth: int = 12
    """Folders below the one that was named."""
    folders: int = 200_000
    entries: int = 5_000_000
    told: int = 10_000
    """Adapters and archives."""
    files: int = 2_000
    """Of one adapter's folder."""


@dataclass(frozen=True, slots=True)
class Cached:
    """Where in a Hugging Face cache something lies."""

    repository: str
    commit: str
    references: tuple[str, ...]
    """Branches and tags that point at the commit."""


@dataclass(frozen=True, slots=True)
class Sighted:
    """A folder or an archive that may be an adapter."""

    path: Path
    contents: Mapping[str, Content]
    """Files of the folder itself, by name: sizes and beginnings. Digests are of what was read. Empty for an archive."""
    size: int
    """Bytes, of these files or of the archive."""
    archive: bool = False
    links: tuple[str, ...] = ()
    """Entries that are links, which were not followed."""
    unread: tuple[str, ...] = ()
    """Files that could not be opened, or are none."""
    cached: Cached | None = None
    named: str | None = None
    """Its name in an object store; `path` is then that of the store's own."""


@dataclass(slots=True)
class Tally:
    """How far a walk came."""

    folders: int = 0
    entries: int = 0
    told: int = 0
    unread: list[str] = field(default_factory=list)
    """Folders that could not be opened, with the reason."""
    stopped: str | None = None
    """The limit at which the walk ended, where one did."""
    seen: set[tuple[int, int]] = field(default_factory=set)
    """Device and inode of every folder looked into: none is told twice, however it is reached."""
    shallow: int = 0
    """Folders below the depth limit, not looked into."""

    def within(self, limits: SurveyLimits) -> bool:
        """Whether a walk may go on; notes the limit at which it ends."""
        for what in ("folders", "entries", "told"):
            limit = getattr(limits, what)
            if getattr(self, what) >= limit:
                self.stopped = f"more than {limit} {'adapters' if what == 'told' else what}"
        return self.stopped is None


def survey(place: Path, limits: SurveyLimits, tally: Tally, step: Callable[[], None]) -> Iterator[Sighted]:
    """What lies at or below `place`, by name; calls `step` for every folder. Raises OSError for `place`."""
    if not stat.S_ISDIR(place.stat().st_mode):
        if is_archive(place.name):
            tally.told += 1
            yield Sighted(place, MappingProxyType({}), place.stat().st_size, archive=True)
        return
    folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        resolved = place.resolve()
        repository = resolved.parent.parent
        if resolved.parent.name == "snapshots" and _REPOSITORY.fullmatch(repository.name):
            yield from _snapshot_named(_Walk(limits, tally, step), repository, resolved.name, folder, place)
        else:
            yield from _Walk(limits, tally, step).folder(folder, place, 0, None)
    finally:
        os.close(folder)


def _snapshot_named(walk: "_Walk", repository: Path, commit: str, folder: int, place: Path) -> Iterator[Sighted]:
    """A single snapshot that was named: its links lead out of the place, into the cache that it is part of."""
    around = os.open(repository, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield from walk.snapshot(around, repository.name, commit, folder, place)
    finally:
        os.close(around)


def is_archive(name: str) -> bool:
    return name.lower().endswith(ARCHIVES)


@dataclass(frozen=True, slots=True)
class _Cache:
    blobs: int
    where: Cached


@dataclass(frozen=True, slots=True)
class _Walk:
    limits: SurveyLimits
    tally: Tally
    step: Callable[[], None]

    def folder(self, folder: int, path: Path, depth: int, cache: _Cache | None) -> Iterator[Sighted]:
        """What `folder` is, then what lies below it."""
        state = os.fstat(folder)
        if not self._may_go_on() or (state.st_dev, state.st_ino) in self.tally.seen:
            return
        self.tally.seen.add((state.st_dev, state.st_ino))
        self.tally.folders += 1
        self.step()
        if cache is None and _REPOSITORY.fullmatch(path.name) and _stat(folder, "snapshots") is not None:
            yield from self._repository(folder, path, depth)
            return
        entries = self._entries(folder, path)
        if MARKS.intersection(entries):
            self.tally.told += 1
            yield _sighted(folder, path, entries, self.limits, cache)
        for name, state in entries.items():
            if stat.S_ISREG(state.st_mode) and is_archive(name):
                self.tally.told += 1
                yield Sighted(path / name, MappingProxyType({}), state.st_size, archive=True)
        for name, state in entries.items():
            if stat.S_ISDIR(state.st_mode) and name not in IGNORED_NAMES:
                yield from self._below(folder, path, name, depth, cache)

    def _below(self, folder: int, path: Path, name: str, depth: int, cache: _Cache | None) -> Iterator[Sighted]:
        if depth >= self.limits.depth:
            self.tally.shallow += 1
            return
        inner = self._opened(name, folder, path)
        if inner is not None:
            try:
                yield from self.folder(inner, path / name, depth + 1, cache)
            finally:
                os.close(inner)

    def _repository(self, folder: int, path: Path, depth: int) -> Iterator[Sighted]:
        """A repository of a Hugging Face cache: each of its snapshots."""
        snapshots = self._opened("snapshots", folder, path)
        if snapshots is None:
            return
        try:
            for name, state in self._entries(snapshots, path / "snapshots").items():
                inner = self._opened(name, snapshots, path / "snapshots") if stat.S_ISDIR(state.st_mode) else None
                if inner is not None:
                    try:
                        yield from self.snapshot(folder, path.name, name, inner, path / "snapshots" / name, depth + 2)
                    finally:
                        os.close(inner)
        finally:
            os.close(snapshots)

    def snapshot(
        self, repository: int, named: str, commit: str, folder: int, path: Path, depth: int = 0
    ) -> Iterator[Sighted]:
        """One snapshot in the cache's folder `named`, whose descriptor is `repository`."""
        where = Cached(named.removeprefix("models--").replace("--", "/"), commit, _references(repository, commit))
        blobs = self._opened("blobs", repository, path.parent.parent)
        if blobs is None:
            return
        try:
            yield from self.folder(folder, path, depth, _Cache(blobs, where))
        finally:
            os.close(blobs)

    def _may_go_on(self) -> bool:
        return self.tally.within(self.limits)

    def _entries(self, folder: int, path: Path) -> dict[str, os.stat_result]:
        found: dict[str, os.stat_result] = {}
        try:
            with os.scandir(folder) as listing:
                for entry in listing:
                    self.tally.entries += 1
                    if self.tally.entries > self.limits.entries:
                        break
                    with suppress(OSError):  # it went away meanwhile
                        found[entry.name] = entry.stat(follow_symlinks=False)
        except OSError as error:
            self.tally.unread.append(f"{path}: {error.strerror}")
        return dict(sorted(found.items()))

    def _opened(self, name: str, at: int, path: Path) -> int | None:
        try:
            return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
        except OSError as error:
            self.tally.unread.append(f"{path / name}: {error.strerror}")
            return None


def _stat(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None


def _references(repository: int, commit: str) -> tuple[str, ...]:
    """Names under refs/ that say `commit`; only those at its top, where branches are."""
    if not _COMMIT.fullmatch(commit):
        return ()
    try:
        folder = os.open("refs", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=repository)
    except OSError:
        return ()
    try:
        names = sorted(os.listdir(folder))[:MAX_REFERENCES]  # noqa: PTH208 - a descriptor
        said = {name: beginning(folder, name, 64) for name in names}
        return tuple(name for name, found in said.items() if found and found[0].strip() == commit.encode())
    finally:
        os.close(folder)


def _sighted(
    folder: int, path: Path, entries: Mapping[str, os.stat_result], limits: SurveyLimits, cache: _Cache | None
) -> Sighted:
    contents: dict[str, Content] = {}
    links: list[str] = []
    unread: list[str] = []
    for name, state in entries.items():
        if stat.S_ISDIR(state.st_mode):
            continue
        at, stored = folder, name
        if stat.S_ISLNK(state.st_mode):
            blob = None if cache is None else _BLOB.fullmatch(os.readlink(name, dir_fd=folder))
            if blob is None or cache is None:
                links.append(name)
                continue
            at, stored = cache.blobs, blob[1]
        content = glimpse(at, stored, name) if len(contents) < limits.files else None
        if content is None:
            unread.append(name)
        else:
            contents[name] = content
    return Sighted(
        path,
        MappingProxyType(contents),
        sum(content.size for content in contents.values()),
        links=tuple(links),
        unread=tuple(unread),
        cached=None if cache is None else cache.where,
    )
