"""The one pass over every byte: hashed, watched, copied into quarantine, and kept in memory as far as `Hold` says."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from peft_assay.core.content import END_BYTES, Content, Draft, Quarantine, Watch
from peft_assay.core.digest import Digest, parse_digest
from peft_assay.intake.interface import Hold, Limits, over, refuse


class Reception:
    """Collects the files of one source. Nothing enters the quarantine before `keep`; `drop` forgets everything."""

    def __init__(self, limits: Limits, hold: Hold, watch: Watch | None, quarantine: Quarantine | None) -> None:
        self.contents: dict[str, Content] = {}
        self.sightings: dict[str, Any] = {}
        self._limits = limits
        self._hold = hold
        self._watch = watch
        self._quarantine = quarantine
        self._drafts: dict[str, Draft] = {}
        self._total = 0
        self._held = 0

    def receive(self, path: str, size: int, chunks: Iterable[memoryview]) -> None:
        """Takes one file; raises IntakeError when it is over the limits, repeats, or is not `size` bytes long."""
        if path in self.contents:
            raise refuse("ambiguous: two files of this name", where=path, next_step="keep one of the two")
        if len(self.contents) >= self._limits.files:
            raise over(path, f"more than {self._limits.files} files")
        if size > self._limits.file_bytes:
            raise over(path, f"{size} bytes, more than {self._limits.file_bytes}")
        if self._total + size > self._limits.total_bytes:
            raise over(path, f"more than {self._limits.total_bytes} bytes in all")
        self._total += size
        self.contents[path] = self._read(path, size, chunks)

    def _read(self, path: str, size: int, chunks: Iterable[memoryview]) -> Content:
        watcher = self._watch(path, size) if self._watch else None
        draft = self._quarantine() if self._quarantine else None
        if draft is not None:
            self._drafts[path] = draft
        whole = size <= self._hold.file_bytes and self._held + size <= self._hold.total_bytes
        kept = _Kept(whole=whole)
        for chunk in chunks:
            if kept.count + len(chunk) > size:
                break
            kept.feed(chunk)
            if watcher is not None:
                watcher.feed(chunk)
            if draft is not None:
                draft.write(chunk)
        else:
            if kept.count == size:
                if watcher is not None:
                    self.sightings[path] = watcher.finish()
                self._held += size if whole else 0
                return kept.content()
        raise refuse("is not as long as it says", where=path, next_step="fetch or pack it again, then try again")

    def rename(self, paths: Mapping[str, str]) -> None:
        """Gives files other names (old to new); those not named are forgotten."""
        for path in self._drafts.keys() - paths.keys():
            self._drafts.pop(path).drop()
        self.contents = {paths[old]: content for old, content in self.contents.items() if old in paths}
        self.sightings = {paths[old]: seen for old, seen in self.sightings.items() if old in paths}
        self._drafts = {paths[old]: draft for old, draft in self._drafts.items()}

    def keep(self) -> None:
        """Makes every file durable in the quarantine. Raises StorageError, TrustError."""
        for path, draft in self._drafts.items():
            draft.keep(self._digest(path))

    def drop(self) -> None:
        """Forgets every file that was not kept."""
        for draft in self._drafts.values():
            draft.drop()

    def _digest(self, path: str) -> Digest:
        return self.contents[path].sha256


class _Kept:
    """Digest, ends, and the whole where it is wanted, of what passes."""

    def __init__(self, *, whole: bool) -> None:
        self.count = 0
        self._whole = whole
        self._hash = hashlib.sha256()
        self._kept = bytearray()
        self._tail = b""

    def feed(self, chunk: memoryview) -> None:
        self.count += len(chunk)
        self._hash.update(chunk)
        if self._whole:
            self._kept += chunk
            return
        if len(self._kept) < END_BYTES:
            self._kept += chunk[: END_BYTES - len(self._kept)]
        self._tail = (self._tail + bytes(chunk[-END_BYTES:]))[-END_BYTES:]

    def content(self) -> Content:
        digest = parse_digest("sha256:" + self._hash.hexdigest())
        kept = bytes(self._kept)
        if self._whole:
            return Content(self.count, digest, kept[:END_BYTES], kept[-END_BYTES:], kept)
        return Content(self.count, digest, kept, self._tail, None)
