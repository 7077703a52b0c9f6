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

CHUNK = 1 << 20
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
        raise refuse(
            "neither a folder nor a .zip or .tar archive", where=where, next_step="name the adapter's folder or archive"
        )
    stream = decompress(opened) if decompress else opened
    _read_tar(_Metered(stream, limits, size), limits, receive)


def _gunzip(opened: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", gzip.GzipFile(fileobj=opened))


def _bunzip(opened: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", bz2.BZ2File(opened))


def _unxz(opened: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", lzma.LZMAFile(opened))


class _Metered:
    """Counts what comes out of a stream and stops it at the limits, so that no header can ask for more memory."""

    def __init__(self, stream: IO[bytes], limits: Limits, archive_size: int) -> None:
        self._stream = stream
        self._limits = limits
        self._size = archive_size
        self._count = 0
        self._tail = b""

    def read(self, size: int) -> bytes:
        content = self._stream.read(min(size, CHUNK))
        self._count += len(content)
        self._tail = (self._tail + content)[-len(_TAR_END) :]
        check_expansion(self._count, self._size, self._limits)
        return content

    def ends_like_a_tar(self) -> bool:
        """Whether the rest, read to its end, closes with a tar's two zero blocks."""
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
    with zipfile.ZipFile(opened) as archive:
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
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise refuse("is a link or a special file inside an archive", where=name, next_step=_REPACK)


def _read_tar(stream: _Metered, limits: Limits, receive: Receive) -> None:
    seen: set[str] = set()
    with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|", errorlevel=2) as archive:
        for count, member in enumerate(archive):
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
            receive(name, member.size, _chunks(body))
    if not stream.ends_like_a_tar():
        raise refuse("the archive is cut off", where="archive", next_step="fetch or pack it again")


def _chunks(stream: IO[bytes]) -> Iterator[memoryview]:
    while chunk := stream.read(CHUNK):
        yield memoryview(chunk)


def _check_new(seen: set[str], name: str) -> None:
    if name in seen:
        raise refuse("ambiguous: the archive has two members of this name", where=name, next_step=_REPACK)
    seen.add(name)
