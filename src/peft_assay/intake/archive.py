"""Reads an archive once, member by member, without ever unpacking it to a disk.

The formats are named by the content's first bytes, not by the file's name. Readers of archives ignore different
parts, so that one file can hold two adapters. An archive is therefore read only where each of its bytes has one
meaning (rules: `peft_assay.intake.zips` and `peft_assay.intake.tars`). Bombs (by ratio, by total, by member) are
noticed while they expand and not after.
"""

import os
from pathlib import Path
from typing import IO

from peft_assay.intake.interface import Limits, Receive, over, refuse
from peft_assay.intake.singles import is_safetensors, no_archive
from peft_assay.intake.streams import Metered, decompressed
from peft_assay.intake.tar_headers import is_header
from peft_assay.intake.tars import read_tar
from peft_assay.intake.zips import read_zip


def read_archive(source: Path, limits: Limits, receive: Receive) -> None:
    """Hands on every file of the .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz `source`; raises IntakeError."""
    try:
        with source.open("rb") as opened:
            before = os.fstat(opened.fileno())
            _read(opened, limits, receive, str(source))
            after = os.fstat(opened.fileno())
    except OSError as error:
        raise refuse(
            f"cannot be read: {error.strerror or error}", where=str(source), next_step="check the archive, then retry"
        ) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise refuse("changed while it was read", where=str(source), next_step="wait for its writer, then try again")


def _read(opened: IO[bytes], limits: Limits, receive: Receive, where: str) -> None:
    size = os.fstat(opened.fileno()).st_size
    if size > limits.total_bytes:
        raise over(where, f"{size} bytes, more than {limits.total_bytes}")
    head = opened.read(512)
    opened.seek(0)
    if is_safetensors(head, size):  # its first bytes are a number: any archive's among them
        raise no_archive(head, where)
    if head.startswith(b"PK"):
        read_zip(opened, limits, size, receive)
        return
    stream = decompressed(opened, head)
    if stream is None and not is_header(head):
        raise no_archive(head, where)
    read_tar(Metered(stream or opened, limits, size), limits, receive)
