"""Frames of the harness protocol: a 4-byte big-endian length and that many bytes of JSON, over a pair of pipes."""

import json
import os
from collections.abc import Mapping
from typing import Any


def read_exactly(descriptor: int, length: int) -> bytes:
    """`length` bytes, or fewer when the other end closes."""
    pieces = []
    while length > 0:
        piece = os.read(descriptor, min(length, 1 << 20))
        if not piece:
            break
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def read_frame(descriptor: int) -> dict[str, Any] | None:
    """The next request, or None when the supervisor has closed its end."""
    header = read_exactly(descriptor, 4)
    if len(header) < 4:
        return None
    request = json.loads(read_exactly(descriptor, int.from_bytes(header, "big")))
    if not isinstance(request, dict):
        raise TypeError("a request is a JSON object")
    return request


def write_frame(descriptor: int, reply: Mapping[str, Any]) -> None:
    """Writes one reply. Numbers that are not finite are written as they are: the supervisor refuses them."""
    content = json.dumps(reply).encode("ascii")
    write_all(descriptor, len(content).to_bytes(4, "big") + content)


def write_all(descriptor: int, content: bytes) -> None:
    """Writes all of `content`, however much the pipe takes at once."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
