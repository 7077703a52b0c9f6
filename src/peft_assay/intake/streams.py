"""Takes packed bytes apart in pieces: one stream, nothing behind it, and never more than the limits say.

Where several streams follow each other, some readers take all of them and some only the first: they see two archives.
"""

import bz2
import lzma
import zlib
from collections.abc import Iterator
from typing import Protocol

from peft_assay.core.errors import IntakeError
from peft_assay.intake.interface import EXPANSION_FLOOR, Limits, over, refuse

CHUNK = 1 << 20
XZ_BYTES = 128 << 20
"""Most memory of a decoder: xz -9 needs 65 MB, a header may ask for 4 GB."""
REPACK = "unpack it with a tool that you trust, look at its files, and pack them again or name their folder"
_BROKEN = (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError)


class Readable(Protocol):
    """A source of bytes, in order."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""


class _Decoder(Protocol):
    """The decoder interface of bz2 and lzma, which zlib gets here too."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, packed: bytes, size: int, /) -> bytes: ...


class Inflater:
    """zlib's decompressor with the interface of bz2 and lzma."""

    def __init__(self, window: int) -> None:
        self._inner = zlib.decompressobj(window)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, packed: bytes, size: int, /) -> bytes:
        """Return at most `size` decompressed bytes of `packed`, after those that were left over before."""
        return self._inner.decompress(self._inner.unconsumed_tail + packed, size)


class OneStream:
    """The content of one compressed stream, which must end where its source ends."""

    def __init__(self, packed: Readable, decoder: _Decoder, what: str, where: str = "archive") -> None:
        self._packed, self._decoder, self._what, self._where = packed, decoder, what, where

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end. Raises IntakeError where more follows, or less."""
        while not self._decoder.eof:
            packed = self._packed.read(CHUNK) if self._decoder.needs_input else b""
            if not packed and self._decoder.needs_input:
                raise self._refused(f"the {self._what} is cut off", "fetch or pack it again")
            try:
                content = self._decoder.decompress(packed, size)
            except _BROKEN as error:
                raise self._refused(f"not a sound archive: {self._what}: {error}", REPACK) from error
            if content:
                return content
        if self._decoder.unused_data or self._packed.read(1):
            raise self._refused(f"bytes follow the {self._what}, which some readers skip and others read", REPACK)
        return b""

    def _refused(self, message: str, next_step: str) -> IntakeError:
        return refuse(message, where=self._where, next_step=next_step)


def decompressed(packed: Readable, head: bytes) -> OneStream | None:
    """Return the stream that begins with `head`, decompressed; None where it is not gzip, bzip2 or xz."""
    if head.startswith(b"\x1f\x8b"):
        return OneStream(packed, Inflater(31), "gzip stream")
    if head.startswith(b"BZh"):
        return OneStream(packed, bz2.BZ2Decompressor(), "bzip2 stream")
    if head.startswith(b"\xfd7zXZ\x00"):
        return OneStream(packed, lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_BYTES), "xz stream")
    return None


class Metered:
    """A stream that counts its decompressed bytes and stops at the limits."""

    def __init__(self, stream: Readable, limits: Limits, archive_size: int) -> None:
        self._stream, self._limits, self._size = stream, limits, archive_size
        self._count = 0

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end. Raises IntakeError over the limits."""
        content = self._stream.read(min(size, CHUNK))
        self._count += len(content)
        check_expansion(self._count, self._size, self._limits)
        return content

    def exactly(self, size: int) -> bytes:
        """Return `size` bytes, or fewer where the stream ends before."""
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[bytes]:
        """Yield `size` bytes in pieces, or fewer where the stream ends before."""
        while size and (content := self.read(size)):
            size -= len(content)
            yield content


def check_expansion(unpacked: int, packed: int, limits: Limits) -> None:
    """Raise IntakeError when `packed` archive bytes have become too many `unpacked` ones."""
    if unpacked > limits.total_bytes:
        raise over("archive", f"more than {limits.total_bytes} bytes unpacked")
    if unpacked > EXPANSION_FLOOR and unpacked > packed * limits.expansion:
        raise over("archive", f"expands to more than {limits.expansion} times its size")
