"""`admit`: from a folder or an archive to an artifact. Nothing is executed, nothing parsed beyond bytes.

Every file is read exactly once; see `Reception` for what happens to its bytes on the way.
"""

import stat
from pathlib import Path

from peft_assay.core.artifact import Artifact, File
from peft_assay.core.content import Quarantine, Watch
from peft_assay.intake.archive import read_archive
from peft_assay.intake.directory import read_directory
from peft_assay.intake.interface import DEFAULT_LIMITS, SMALL, Admitted, Hold, Limits, refuse
from peft_assay.intake.paths import check_unambiguous, is_ignored, without_top
from peft_assay.intake.reception import Reception


def admit(
    source: Path,
    limits: Limits = DEFAULT_LIMITS,
    *,
    hold: Hold = SMALL,
    watch: Watch | None = None,
    quarantine: Quarantine | None = None,
) -> Admitted:
    """The files of `source` (a folder or an archive), each read exactly once.

    `watch` looks at bytes as they pass; `quarantine` receives a durable copy of all files, or of none when intake
    refuses. Raises IntakeError with its next step, StorageError or TrustError from the quarantine.
    Whether the files are an adapter at all is not asked here: see `peft_assay.observe.static.kind.classify`.
    """
    reception = Reception(limits, hold, watch, quarantine)
    try:
        _read(source, limits, reception)
        if not reception.contents:
            raise refuse("empty: there is no file to examine", where=str(source), next_step="name the adapter's folder")
        contents = dict(sorted(reception.contents.items()))
        check_unambiguous(contents)
        artifact = Artifact(tuple(File(path, content.size, content.sha256) for path, content in contents.items()))
        reception.keep()
    finally:
        reception.drop()
    return Admitted(artifact, str(source), contents, reception.sightings)


def _read(source: Path, limits: Limits, reception: Reception) -> None:
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
    if stat.S_ISDIR(mode):
        read_directory(source, limits, reception.receive)
    elif stat.S_ISREG(mode):
        read_archive(source, limits, reception.receive)
        shorter = without_top(path for path in reception.contents if not is_ignored(path))
        reception.rename({old: new for old, new in shorter.items() if not is_ignored(new)})
    else:
        raise refuse("neither a folder nor a file", where=str(source), next_step="name a folder or an archive")
