"""What is left of a file once it was read: digest, size, its ends, and the whole where it is small.

A file is read once, in one pass. Whoever needs more of it than this watches while it passes (`Watcher`): what was
hashed and what was looked at are then the same bytes, and a file of gigabytes needs no memory.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from peft_assay.core.digest import Digest, sha256

END_BYTES = 64 << 10
"""How much of either end is always kept."""


@dataclass(frozen=True, slots=True)
class Content:
    """One file's content, or what was kept of it."""

    size: int
    """Bytes."""
    sha256: Digest
    head: bytes
    """The first `END_BYTES` (fewer where the file is shorter)."""
    tail: bytes
    """The last `END_BYTES`."""
    body: bytes | None
    """The whole; None where the file was too large to hold."""


def content_of(body: bytes) -> Content:
    """The content that `body` is, held whole."""
    return Content(len(body), sha256(body), body[:END_BYTES], body[-END_BYTES:], body)


class Watcher(Protocol):
    """Looks at one file while it is read. Never raises for what the bytes are: hostile files are the ordinary case."""

    def feed(self, chunk: memoryview) -> None:
        """The next bytes, in order; the view is only valid during the call."""

    def finish(self) -> Any:
        """What was seen, once the file has ended."""


Watch = Callable[[str, int], Watcher | None]
"""Gives the watcher for a file of this path and size (bytes), or None where nobody wants to look."""


class Draft(Protocol):
    """A file on its way into a content-addressed store: whole, or never there."""

    def write(self, chunk: memoryview) -> None:
        """Appends `chunk`. Raises StorageError."""

    def keep(self, digest: Digest) -> None:
        """Makes what was written durable under `digest`, which the writer computed. Raises StorageError, TrustError."""

    def drop(self) -> None:
        """Forgets it; does nothing when it was kept."""


Quarantine = Callable[[], Draft]
"""Opens a draft in the store that admitted files go to."""


def bodies(contents: Mapping[str, Content]) -> dict[str, bytes]:
    """Every file's bytes by path; raises ValueError when one was not held whole."""
    whole = {path: content.body for path, content in contents.items()}
    missing = [path for path, body in whole.items() if body is None]
    if missing:
        raise ValueError(f"not held in memory: {missing[0]}")
    return {path: body for path, body in whole.items() if body is not None}
