"""Beginnings of files, read without following links and without waiting for anybody."""

import os
import stat

from peft_assay.core.artifact import CARD_FILE, CONFIG_FILE
from peft_assay.core.content import END_BYTES, Content
from peft_assay.core.digest import sha256

CONFIG_BYTES = 1 << 20
"""Read of a configuration or a card; of larger ones only the beginning is known, as of any other file."""


def glimpse(folder: int, stored: str, name: str) -> Content | None:
    """The beginning of a file, or the whole of a configuration or card that is small; None where it cannot be read."""
    found = beginning(folder, stored, CONFIG_BYTES if name in {CONFIG_FILE, CARD_FILE} else END_BYTES)
    if found is None:
        return None
    read, size = found
    body = read if len(read) == size else None
    return Content(size, sha256(read), read[:END_BYTES], read[-END_BYTES:] if body is not None else b"", body)


def beginning(folder: int, name: str, wanted: int) -> tuple[bytes, int] | None:
    """At most `wanted` bytes of a plain file, and its size; None where it cannot be read or is none."""
    # O_NONBLOCK: were the name swapped for a FIFO meanwhile, opening it would not wait for a writer.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        opened = os.open(name, flags, dir_fd=folder)
    except OSError:
        return None
    try:
        state = os.fstat(opened)
        if not stat.S_ISREG(state.st_mode):
            return None
        read = os.pread(opened, min(wanted, state.st_size), 0)
        return read, state.st_size
    except OSError:
        return None
    finally:
        os.close(opened)
