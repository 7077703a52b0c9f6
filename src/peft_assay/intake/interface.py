"""The intake room's nouns: what it may read at most, and what it hands on."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from peft_assay.core.artifact import Artifact
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
class Admitted:
    """An adapter's files, read once: `files` are the very bytes that `artifact`'s digests were computed over."""

    artifact: Artifact
    source: str
    """What the user named; for messages only, it identifies nothing."""
    files: Mapping[str, bytes]

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", MappingProxyType(dict(self.files)))


def refuse(message: str, *, where: str, next_step: str) -> IntakeError:
    """An IntakeError that has both its place and its next step; raise what this gives."""
    return IntakeError(message, where=where, next_step=next_step)
