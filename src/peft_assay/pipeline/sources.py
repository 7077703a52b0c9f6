"""From what somebody calls an adapter to files on this machine: fetched first where the name is a remote one."""

import os
from pathlib import Path

from peft_assay.core.errors import StorageError
from peft_assay.intake.fetching import Tell
from peft_assay.intake.interface import DEFAULT_LIMITS
from peft_assay.intake.reference import HubReference, ObjectReference, parse_reference


def locate(named: str, *, within: Path | None = None, tell: Tell) -> Path:
    """The folder or archive that `named` means; relative paths are read from `within` (None: from where we are).

    Fetches what is remote into the user's cache (``XDG_CACHE_HOME``), pinned, checked and resumable. Raises
    UsageError for malformed names, IntakeError for what cannot be fetched, StorageError.
    """
    reference = parse_reference(named)
    match reference:
        case HubReference():
            from peft_assay.intake.hub import fetch

            return fetch(reference, _place() / "hub", DEFAULT_LIMITS, tell).folder
        case ObjectReference():
            from peft_assay.intake.objects import fetch as fetch_objects

            return fetch_objects(reference, _place() / "objects", DEFAULT_LIMITS, tell).folder
    return reference if within is None else within / reference


def _place() -> Path:
    root = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(root) if root.startswith("/") else Path.home() / ".cache") / "peft-assay" / "remote"
    except RuntimeError:
        raise StorageError("there is no home folder to fetch into", next_step="set XDG_CACHE_HOME") from None
