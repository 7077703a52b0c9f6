"""`admit`: from a folder or an archive to an artifact. Nothing is executed, nothing parsed beyond bytes.

Every file is read exactly once; see `Reception` for what happens to its bytes on the way.
"""

import stat
from pathlib import Path

from peft_assay.core.artifact import CONFIG_FILE, Artifact, File
from peft_assay.core.content import Quarantine, Watch
from peft_assay.intake.archive import read_archive
from peft_assay.intake.directory import read_directory
from peft_assay.intake.interface import DEFAULT_LIMITS, SMALL, Admitted, Hold, Limits, refuse
from peft_assay.intake.paths import below, check_path, check_unambiguous, is_ignored, without_top
from peft_assay.intake.reception import Reception

_SHOWN = 8


def admit(
    source: Path,
    limits: Limits = DEFAULT_LIMITS,
    *,
    hold: Hold = SMALL,
    watch: Watch | None = None,
    quarantine: Quarantine | None = None,
) -> Admitted:
    """The files of `source` (a folder or an archive), each read exactly once; ``SOURCE:FOLDER`` is one folder in it.

    `watch` looks at bytes as they pass; `quarantine` receives a durable copy of all files, or of none when intake
    refuses. Raises IntakeError with its next step, StorageError or TrustError from the quarantine.
    Whether the files are an adapter at all is not asked here: see `peft_assay.observe.static.kind.classify`.
    """
    reception = Reception(limits, hold, watch, quarantine)
    try:
        place, inner = parted(source)
        _read(place, inner, limits, reception)
        if not reception.contents:
            raise refuse("empty: there is no file to examine", where=str(source), next_step="name the adapter's folder")
        contents = dict(sorted(reception.contents.items()))
        check_unambiguous(contents, named=f"{source}{'/' if inner or place.is_dir() else ':'}")
        artifact = Artifact(tuple(File(path, content.size, content.sha256) for path, content in contents.items()))
        reception.keep()
    finally:
        reception.drop()
    return Admitted(artifact, str(source), contents, reception.sightings)


def parted(source: Path) -> tuple[Path, str]:
    """Return a folder or an archive, and the folder in it that `source` names after a colon; empty where none is.

    What exists under the whole name is that: a colon may be part of a name.
    """
    text = str(source)
    try:
        if source.exists() or ":" not in text:
            return source, ""
        for at in (at for at, character in enumerate(text) if character == ":"):
            if at and Path(text[:at]).exists():
                return Path(text[:at]), text[at + 1 :].strip("/")
    except (OSError, ValueError):
        pass  # reading it says what is wrong
    return source, ""


def _read(source: Path, inner: str, limits: Limits, reception: Reception) -> None:
    try:
        mode = source.stat().st_mode
    except OSError as error:
        raise refuse(
            f"cannot be read: {error.strerror or 'no such path'}",
            where=str(source),
            next_step="name the folder or archive that holds adapter_config.json",
        ) from error
    except ValueError as error:
        raise refuse("not a path", where=str(source), next_step="name a folder or an archive") from error
    if inner:
        check_path(inner, limits)
    if stat.S_ISDIR(mode):
        read_directory(source / inner, limits, reception.receive)
    elif stat.S_ISREG(mode):
        read_archive(source, limits, reception.receive)
        _choose(source, inner, reception)
    else:
        raise refuse("neither a folder nor a file", where=str(source), next_step="name a folder or an archive")


def _choose(source: Path, inner: str, reception: Reception) -> None:
    """Keep the files of an archive that are the adapter's, without the folders around them. Raises IntakeError."""
    paths = [path for path in reception.contents if not is_ignored(path)]
    shorter = below(paths, inner) if inner else without_top(paths)
    if inner and not shorter:
        folders = sorted({path.rpartition("/")[0] for path in paths if path.endswith("/" + CONFIG_FILE)})
        has = (
            f"adapters lie in {', '.join(map(repr, folders[:_SHOWN]))}"
            if folders
            else "no folder of it holds an adapter"
        )
        raise refuse(
            f"there is no folder {inner!r} in it; {has}",
            where=str(source),
            next_step=f"name {source}:{folders[0]}" if folders else "look at what it holds",
        )
    reception.rename({old: new for old, new in shorter.items() if not is_ignored(new)})
