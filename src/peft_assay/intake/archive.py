"""Reads an archive once, member by member, without ever unpacking it to a disk.

Refused: links, devices, encrypted and repeated members, unsafe paths, and bombs (by ratio, by total, by member), which
are noticed while they expand and not after. The formats are named by the content's first bytes, not by the file's name.
"""

import bz2
import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from peft_assay.intake.interface import EXPANSION_FLOOR, Limits, Receive, over, refuse
from peft_assay.intake.paths import check_path
from peft_assay.intake.singles import no_archive

CHUNK = 1 << 20
DIRECTORY_BYTES = 4 << 20
"""Of a zip's directory of members: zipfile reads it whole, and keeps ten times as much."""
HEADER_BYTES = 256 << 10
"""Of names and attributes before one member of a tar: tarfile reads them whole, whatever they say."""
XZ_BYTES = 128 << 20
"""Of memory: xz -9 needs 65 MB, a header may ask for 4 GB."""
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""zipfile stops none of the others at the size it was asked for: a kilobyte of bzip2 may become a gigabyte at once."""
_RENAMING = {"path", "linkpath", "size"}
"""Attributes of one member that a tar's header for all of them could set."""
_TAR_END = bytes(1024)
"""POSIX ustar: an archive ends with two blocks of zeros; tarfile takes one that was cut off for a shorter one."""
_REPACK = "repack the adapter's files: plain files, relative paths, each once"
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeError,
    RuntimeError, ValueError,
)  # fmt: skip


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
    except _BROKEN as error:
        raise refuse(f"not a sound archive: {error}", where=str(source), next_step=_REPACK) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise refuse("changed while it was read", where=str(source), next_step="wait for its writer, then try again")


def _read(opened: IO[bytes], limits: Limits, receive: Receive, where: str) -> None:
    size = os.fstat(opened.fileno()).st_size
    if size > limits.total_bytes:
        raise over(where, f"{size} bytes, more than {limits.total_bytes}")
    head = opened.read(512)
    opened.seek(0)
    if head.startswith(b"PK"):
        _read_zip(opened, limits, size, receive)
        return
    decompress: Callable[[IO[bytes]], IO[bytes]] | None = None
    if head.startswith(b"\x1f\x8b"):
        decompress = _gunzip
    elif head.startswith(b"BZh"):
        decompress = _bunzip
    elif head.startswith(b"\xfd7zXZ\x00"):
        decompress = _unxz
    elif head[257:262] != b"ustar":
        raise no_archive(head, where)
    stream = decompress(opened) if decompress else opened
    _read_tar(_Metered(stream, limits, size), limits, receive)


def _gunzip(opened: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", gzip.GzipFile(fileobj=opened))


def _bunzip(opened: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", bz2.BZ2File(opened))


def _unxz(opened: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", _Xz(opened))


class _Xz:
    """What xz compressed, in at most `XZ_BYTES` of memory, for which lzma.LZMAFile has no parameter."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened = opened
        self._decoder = lzma.LZMADecompressor(memlimit=XZ_BYTES)

    def read(self, size: int) -> bytes:
        """At most `size` bytes, none at the end; raises EOFError where the file ends before its stream does."""
        while True:
            if self._decoder.eof:
                packed = self._another_stream()
                if not packed:
                    return b""
                self._decoder = lzma.LZMADecompressor(memlimit=XZ_BYTES)
            else:
                packed = self._opened.read(CHUNK) if self._decoder.needs_input else b""
                if self._decoder.needs_input and not packed:
                    raise EOFError("the compressed file is cut off")
            content = self._decoder.decompress(packed, size)
            if content:
                return content

    def _another_stream(self) -> bytes:
        """Where another stream begins behind this one and zeros; nothing at the end of the file."""
        packed = self._decoder.unused_data.lstrip(b"\0")
        while not packed and (more := self._opened.read(CHUNK)):
            packed = more.lstrip(b"\0")
        return packed


class _Sipped:
    """A zip file of which nobody takes more than `DIRECTORY_BYTES` at once."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._opened = opened
        self.seek, self.tell, self.seekable = opened.seek, opened.tell, opened.seekable

    def read(self, size: int = -1) -> bytes:
        """As a file's; raises IntakeError for a larger piece."""
        content = self._opened.read(DIRECTORY_BYTES + 1 if size < 0 else min(size, DIRECTORY_BYTES + 1))
        if len(content) > DIRECTORY_BYTES:
            raise over("archive", f"a directory of members of more than {DIRECTORY_BYTES} bytes")
        return content


class _Metered:
    """Counts what comes out of a stream and stops it at the limits, so that no header can ask for more memory."""

    def __init__(self, stream: IO[bytes], limits: Limits, archive_size: int) -> None:
        self._stream = stream
        self._limits = limits
        self._size = archive_size
        self._count = 0
        self._tail = b""
        self._header: int | None = HEADER_BYTES

    def expect_header(self) -> None:
        """What comes next says what the next member is, at moderate length."""
        self._header = HEADER_BYTES

    def expect_content(self) -> None:
        """What comes next is content, of any length."""
        self._header = None

    def read(self, size: int) -> bytes:
        content = self._stream.read(min(size, CHUNK))
        self._count += len(content)
        if self._header is not None:
            self._header -= len(content)
            if self._header < 0:
                raise over("archive", f"names and attributes of a member take more than {HEADER_BYTES} bytes")
        self._tail = (self._tail + content)[-len(_TAR_END) :]
        check_expansion(self._count, self._size, self._limits)
        return content

    def ends_like_a_tar(self) -> bool:
        """Whether the rest, read to its end, closes with a tar's two zero blocks."""
        self.expect_content()
        while self.read(CHUNK):
            pass
        return self._tail == _TAR_END


def check_expansion(unpacked: int, packed: int, limits: Limits) -> None:
    """Raises IntakeError when `packed` archive bytes have become too many `unpacked` ones."""
    if unpacked > limits.total_bytes:
        raise over("archive", f"more than {limits.total_bytes} bytes unpacked")
    if unpacked > EXPANSION_FLOOR and unpacked > packed * limits.expansion:
        raise over("archive", f"expands to more than {limits.expansion} times its size")


def _read_zip(opened: IO[bytes], limits: Limits, size: int, receive: Receive) -> None:
    seen: set[str] = set()
    unpacked = 0
    with zipfile.ZipFile(cast("IO[bytes]", _Sipped(opened))) as archive:
        members = archive.infolist()
        if len(members) > 2 * limits.files:
            raise over("archive", f"more than {2 * limits.files} members")
        for member in members:
            _check_zip_member(member, limits)
            if member.is_dir():
                continue
            _check_new(seen, member.filename)
            unpacked += member.file_size
            check_expansion(unpacked, size, limits)
            with archive.open(member) as stream:
                receive(member.filename, member.file_size, _chunks(stream))


def _check_zip_member(member: zipfile.ZipInfo, limits: Limits) -> None:
    # orig_filename: zipfile cuts a name at NUL and translates separators before anybody sees it.
    name = check_path(member.orig_filename.removesuffix("/"), limits)
    if member.flag_bits & 0x1:
        raise refuse("is encrypted", where=name, next_step=_REPACK)
    if member.compress_type not in _METHODS:
        raise refuse("is packed by another method than deflate", where=name, next_step=_REPACK)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise refuse("is a link or a special file inside an archive", where=name, next_step=_REPACK)


def _read_tar(stream: _Metered, limits: Limits, receive: Receive) -> None:
    seen: set[str] = set()
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", errorlevel=2) as archive:
        for count, member in enumerate(_members(archive, stream)):
            if count >= 2 * limits.files:
                raise over("archive", f"more than {2 * limits.files} members")
            name = member.name.removeprefix("./")
            if member.isdir():
                if name not in {".", ""}:
                    check_path(name, limits)
                continue
            check_path(name, limits)
            if not member.isreg() or member.issparse():
                raise refuse("is a link or a special file inside an archive", where=name, next_step=_REPACK)
            body = archive.extractfile(member)
            if body is None:
                raise refuse("has no content", where=name, next_step=_REPACK)
            _check_new(seen, name)
            stream.expect_content()
            receive(name, member.size, _chunks(body))
    if not stream.ends_like_a_tar():
        raise refuse("the archive is cut off", where="archive", next_step="fetch or pack it again")


def _members(archive: tarfile.TarFile, stream: _Metered) -> Iterator[tarfile.TarInfo]:
    """Each member once; none is kept. Raises IntakeError for names and attributes that are long, or meant for all."""
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined] # tarfile keeps them, with all that their headers say
        common = archive.pax_headers
        if _RENAMING & common.keys() or sum(len(name) + len(value) for name, value in common.items()) > HEADER_BYTES:
            raise refuse("one header names or describes all members", where="archive", next_step=_REPACK)
        yield member
        stream.expect_header()


def _chunks(stream: IO[bytes]) -> Iterator[memoryview]:
    while chunk := stream.read(CHUNK):
        yield memoryview(chunk)


def _check_new(seen: set[str], name: str) -> None:
    if name in seen:
        raise refuse("ambiguous: the archive has two members of this name", where=name, next_step=_REPACK)
    seen.add(name)
