"""`admit`: from a folder or an archive to an artifact in memory. Nothing is executed, nothing parsed beyond bytes.

Files are held as bytes: an adapter is small beside its base, and bytes that were hashed cannot change afterwards. Plan
for as much memory as the source is large.
"""

import stat
from pathlib import Path

from peft_assay.core.artifact import Artifact, File
from peft_assay.core.digest import sha256
from peft_assay.intake.archive import read_archive
from peft_assay.intake.directory import read_directory
from peft_assay.intake.interface import DEFAULT_LIMITS, Admitted, Limits, refuse
from peft_assay.intake.paths import check_unambiguous


def admit(source: Path, limits: Limits = DEFAULT_LIMITS) -> Admitted:
    """The files of `source` (a folder or an archive), each read exactly once; raises IntakeError with its next step.

    Whether the files are an adapter at all is not asked here: see `peft_assay.observe.static.kind.classify`.
    """
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
        files = read_directory(source, limits)
    elif stat.S_ISREG(mode):
        files = read_archive(source, limits)
    else:
        raise refuse("neither a folder nor a file", where=str(source), next_step="name a folder or an archive")
    if not files:
        raise refuse("empty: there is no file to examine", where=str(source), next_step="name the adapter's folder")
    ordered = dict(sorted(files.items()))
    check_unambiguous(ordered)
    artifact = Artifact(tuple(File(path, len(content), sha256(content)) for path, content in ordered.items()))
    return Admitted(artifact, str(source), ordered)
