"""File descriptors that go in and come out over the control socket: sealed memory files, never a folder or a path."""

import fcntl
import os
import socket
import struct

SEALS = 0xF  # F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE
F_ADD_SEALS = 1033


def sealed(content: bytes) -> int:
    """A memory file with `content` that nobody can change any more, at its beginning."""
    descriptor = os.memfd_create("adapter", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    fcntl.fcntl(descriptor, F_ADD_SEALS, SEALS)
    return descriptor


def passed_on(ancillary: list[tuple[int, int, bytes]]) -> tuple[int | None, int | None]:
    """Process id of the sender, as the kernel vouches for it, and the descriptor passed."""
    child = listener = None
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            child = struct.unpack_from("i", content)[0]
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            listener = struct.unpack_from("i", content)[0]
    return child, listener
