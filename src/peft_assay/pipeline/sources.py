"""From what somebody calls an adapter to files on this machine: fetched first where the name is a remote one."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peft_assay.core.errors import IntakeError, StorageError
from peft_assay.intake.fetching import Tell
from peft_assay.intake.interface import DEFAULT_LIMITS
from peft_assay.intake.reference import HubReference, ObjectReference, parse_reference
from peft_assay.pipeline.origin import repository_at

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Located:
    """A source by the name that people are shown, and where its files lie on this machine."""

    shown: str
    """A local path; of what is remote the name pinned to what was fetched, never where it is cached."""
    path: Path | None
    """None: it could not be fetched, and `refusal` says why."""
    remote: bool = False
    refusal: IntakeError | None = None
    origin: str | None = None
    """What declarations match; None where nobody asked."""
    alias: str | None = None
    """The name under adapters in peft-assay.yaml by which it was named."""

    def found(self) -> Path:
        """Where its files lie; raises the refusal where it could not be fetched."""
        if self.path is None:
            raise self.refusal or IntakeError("could not be fetched", where=self.shown)
        return self.path


def locate(named: str, *, within: Path | None = None, tell: Tell) -> Located:
    """The folder or archive that `named` means; relative paths are read from `within` (None: from where we are).

    Fetches what is remote into the user's cache (``XDG_CACHE_HOME``), pinned, checked and resumable. Raises
    UsageError for malformed names, IntakeError for what cannot be fetched, StorageError.
    """
    reference = parse_reference(named)
    match reference:
        case HubReference():
            from peft_assay.intake.hub import fetch

            fetched = fetch(reference, remote_place() / "hub", DEFAULT_LIMITS, tell)
        case ObjectReference():
            from peft_assay.intake.objects import fetch as fetch_objects

            fetched = fetch_objects(reference, remote_place() / "objects", DEFAULT_LIMITS, tell)
        case _:
            path = reference if within is None else within / reference
            return Located(str(path), path)
    return Located(fetched.pinned, fetched.folder, remote=True)


def locate_or_refuse(named: str, *, within: Path | None = None, tell: Tell) -> Located:
    """As `locate`; what cannot be fetched is told in the result, and stops nothing beside it."""
    try:
        return locate(named, within=within, tell=tell)
    except IntakeError as refusal:
        return Located(named, None, remote=True, refusal=refusal)


def names_of(sources: Sequence[Located]) -> list[str]:
    """A short name for each source: its alias, else its last component, or the whole where that is not unique."""
    last = [_short(source) for source in sources]
    return [
        name if last.count(name) == 1 or source.alias is not None else source.shown
        for name, source in zip(last, sources, strict=True)
    ]


def short_name(path: Path) -> str:
    """The name of a folder or archive: its last component; of a snapshot in a cache, of which that is a commit, the
    repository's, with the commit's beginning.
    """
    kept = repository_at(path) if _COMMIT.fullmatch(path.name) else None
    return path.name if kept is None else f"{kept[0].rpartition('/')[2]}@{kept[1][:7]}"


def _short(source: Located) -> str:
    if source.alias is not None:
        return source.alias
    if source.path is not None and not source.remote:
        return short_name(source.path.resolve())
    plain = source.shown.partition("://")[2] or source.shown
    return plain.partition("@")[0].rstrip("/").rsplit("/", 1)[-1] or source.shown


def remote_place() -> Path:
    """Return the folder of what was fetched, in the user's cache."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(root) if root.startswith("/") else Path.home() / ".cache") / "peft-assay" / "remote"
    except RuntimeError:
        raise StorageError("there is no home folder to fetch into", next_step="set XDG_CACHE_HOME") from None
