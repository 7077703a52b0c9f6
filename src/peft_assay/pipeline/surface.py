"""The declared surface: the aliases of peft-assay.yaml, and the short names by which people are told of adapters."""

import os
from difflib import get_close_matches
from pathlib import Path

from peft_assay.core.errors import IntakeError
from peft_assay.intake.admit import parted
from peft_assay.pipeline.documents import AssayDocument

MAX_ALIASES = 10
"""Aliases that an error lists."""


def check_named(named: str, document: AssayDocument, path: Path) -> None:
    """Raise IntakeError for a word that is neither an alias of the project at `path` nor the name of a file here."""
    aliases = sorted(document.adapters)
    if not aliases or named in aliases or "/" in named or os.path.lexists(parted(Path(named))[0]):
        return
    near = get_close_matches(named, aliases, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    more = f" and {len(aliases) - MAX_ALIASES} more" if len(aliases) > MAX_ALIASES else ""
    raise IntakeError(
        "it is no alias, and there is no such file or folder",
        where=named,
        next_step=f"{meant}the aliases of {path}: {', '.join(aliases[:MAX_ALIASES])}{more}",
    )


def alias_of(source: str, document: AssayDocument, path: Path) -> str | None:
    """Return the alias that the project at `path` declares for `source`, a path or a remote name as recorded."""
    for alias, declared in sorted(document.adapters.items()):
        if source == declared.source or Path(source) == path.parent / declared.source:
            return alias
    return None
