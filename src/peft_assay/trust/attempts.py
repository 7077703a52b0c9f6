"""The attempts that an authority key has seen, in its record beside the anchor: no new workspace begins them anew.

An attempt is written before anything runs, and concluded with the verdict. An attempt without a conclusion was
interrupted, and counts as not passed.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.digest import Digest, parse_digest
from peft_assay.core.errors import DocumentError, StorageError, TrustError
from peft_assay.core.parse import parse_json, validate
from peft_assay.fingerprint.strengths import Strengths, read_strengths
from peft_assay.trust.state_files import append_durably, locked
from peft_assay.trust.times import format_time
from peft_assay.trust.wire import FullDigest, Instant, Model, Wire


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at certifying something."""

    id: str
    """A random id, which its conclusion names."""
    function: Digest
    """The digest of the adapter's function, the same for all its bytes; of its bytes where that cannot be computed."""
    source: Digest
    """The digest of the source's name, without a revision."""
    artifact: Digest
    lock: Digest
    at: datetime
    outcome: str | None = None
    """The verdict; None while there is none."""
    strengths: Strengths | None = None
    """The strengths of its function, by which rewritten factors are recognised; None where they cannot be computed."""

    def same_function(self, other: "Attempt") -> bool:
        """Whether both were at one function, in the same factors or in others."""
        alike = self.strengths is not None and other.strengths is not None and self.strengths.like(other.strengths)
        return alike or self.function == other.function


class _Attempt(Wire):
    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    function: FullDigest
    source: FullDigest
    artifact: FullDigest
    lock: FullDigest
    at: Instant
    parts: FullDigest | None = None
    strengths: str | None = None


class _Conclusion(Wire):
    id: str
    outcome: str = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class AttemptRecords:
    """The attempts of the pinned authority keys: a file of lines for each, and each attempt in all of them."""

    folder: Path
    keyids: Sequence[str]

    def begin(self, attempt: Attempt) -> None:
        """Record that `attempt` begins, durably; raises StorageError."""
        document = {
            "id": attempt.id,
            "function": attempt.function,
            "source": attempt.source,
            "artifact": attempt.artifact,
            "lock": attempt.lock,
            "at": format_time(attempt.at),
        }
        if (kept := attempt.strengths) is not None:
            document |= {"parts": kept.parts, "strengths": kept.text()}
        self._append(document)

    def conclude(self, identity: str, outcome: str) -> None:
        """Record the verdict of the attempt with this id; raises StorageError."""
        self._append({"id": identity, "outcome": outcome})

    def all(self) -> tuple[Attempt, ...]:
        """Return every attempt, each once, oldest first; raises TrustError for a damaged record, StorageError."""
        found: dict[str, Attempt] = {}
        for keyid in self.keyids:
            for document, where in _documents(self._path(keyid)):
                if isinstance(document, dict) and "outcome" in document:
                    said = _read(_Conclusion, document, where)
                    if said.id in found:
                        found[said.id] = replace(found[said.id], outcome=said.outcome)
                    continue
                wire = _read(_Attempt, document, where)
                found.setdefault(wire.id, _attempt(wire, where))
        return tuple(sorted(found.values(), key=lambda attempt: attempt.at))

    def _append(self, document: dict[str, str]) -> None:
        line = canonical_bytes(document) + b"\n"
        try:
            with locked(self.folder / "attempts.lock"):
                for keyid in self.keyids:
                    _cut_what_was_torn(self._path(keyid))
                    append_durably(self._path(keyid), line)
        except OSError as error:
            raise StorageError(f"the record of attempts: {error.strerror}", where=str(self.folder)) from None

    def _path(self, keyid: str) -> Path:
        return self.folder / f"{keyid}.attempts"


def _attempt(wire: _Attempt, where: str) -> Attempt:
    strengths = None
    if wire.parts is not None or wire.strengths is not None:
        try:
            strengths = read_strengths(wire.parts or "", wire.strengths or "", where=where)
        except DocumentError as error:
            raise TrustError(f"damaged record of attempts: {error.message}", where=where) from None
    return Attempt(
        id=wire.id,
        function=parse_digest(wire.function),
        source=parse_digest(wire.source),
        artifact=parse_digest(wire.artifact),
        lock=parse_digest(wire.lock),
        at=wire.at,
        strengths=strengths,
    )


def _read(model: type[Model], document: Any, where: str) -> Model:
    try:
        return validate(model, document, where=where)
    except DocumentError as error:
        raise TrustError(f"damaged record of attempts: {error.message}", where=where) from None


def _documents(path: Path) -> Iterator[tuple[Any, str]]:
    """Return each whole line, parsed; a last line that a killed process left incomplete is no attempt: it had not
    begun.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=str(path)) from None
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        where = f"{path}: line {number}"
        try:
            yield parse_json(line, where=where), where
        except DocumentError as error:
            raise TrustError(f"damaged record of attempts: {error.message}", where=where) from None


def _cut_what_was_torn(path: Path) -> None:
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            os.truncate(path, whole)
