"""The intake room's nouns: what it may read at most, and what it hands on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from peft_assay.core.artifact import Artifact
from peft_assay.core.content import Content, bodies
from peft_assay.core.errors import IntakeError


@dataclass(frozen=True, slots=True)
class Limits:
    """What intake reads at most; a source over any of them is refused, never cut short."""

    files: int = 2_000
    total_bytes: int = 20 << 30
    file_bytes: int = 10 << 30
    path_characters: int = 512
    depth: int = 8
    """Components of a path."""
    expansion: int = 200
    """Unpacked bytes per archive byte, once more than `EXPANSION_FLOOR` were unpacked."""


EXPANSION_FLOOR = 16 << 20
"""Bytes; a small archive of zeros (an untrained adapter) compresses further than any bomb limit would allow."""

DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Hold:
    """How much content stays in memory once it was read."""

    file_bytes: int = 8 << 20
    """Larger files are not held whole: their ends are, and what watchers saw."""
    total_bytes: int = 64 << 20
    """Of all files held whole; the rest, in the order they were read, are not."""


SMALL = Hold()
"""Enough for everything a person reads or writes: configurations, cards, templates, tokenizers of ordinary size."""
WHOLE = Hold(DEFAULT_LIMITS.total_bytes, DEFAULT_LIMITS.total_bytes)
"""For who hands the very bytes on (activation)."""


class Receive(Protocol):
    """Where a reader of folders or archives puts each file, as it comes."""

    def __call__(self, path: str, size: int, chunks: Iterable[memoryview]) -> None:
        """Takes `chunks` (each valid only until the next) as the file `path` of `size` bytes. Raises IntakeError."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """An adapter's files, each read once: digests, contents and sightings are of the same bytes."""

    artifact: Artifact
    source: str
    """What the user named; for messages only, it identifies nothing."""
    contents: Mapping[str, Content]
    sightings: Mapping[str, Any]
    """What watchers saw, by path."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "contents", MappingProxyType(dict(self.contents)))
        object.__setattr__(self, "sightings", MappingProxyType(dict(self.sightings)))

    @property
    def files(self) -> Mapping[str, bytes]:
        """Every file's bytes; raises ValueError unless it was admitted with hold=WHOLE."""
        return MappingProxyType(bodies(self.contents))


def refuse(message: str, *, where: str, next_step: str) -> IntakeError:
    """An IntakeError that has both its place and its next step; raise what this gives."""
    return IntakeError(message, where=where, next_step=next_step)


def over(where: str, message: str) -> IntakeError:
    """The refusal of something over a limit."""
    return refuse(f"over the limit: {message}", where=where, next_step="name a folder that holds one adapter only")
