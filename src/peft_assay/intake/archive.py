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

from peft_assay.intake.directory import over
from peft_assay.intake.interface import EXPANSION_FLOOR, Limits, refuse
from peft_assay.intake.paths import check_path, is_ignored

CHUNK = 1 << 20
_TAR_END = bytes(1024)
"""POSIX ustar: an archive ends with two blocks of zeros; tarfile takes one that was cut off for a shorter one."""
_REPACK = "repack the adapter's files: plain files, relative paths, each once"
_BROKEN = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, UnicodeError,
    RuntimeError, ValueError,
)  # fmt: skip

_Reader = Callable[[IO[bytes], Limits, int], dict[str, bytes]]


def read_archive(source: Path, limits: Limits) -> dict[str, bytes]:
    """Content of every member of the .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz `source`; raises IntakeError.

    A single top folder that all members share is taken off their paths.
    """
    try:
        with source.open("rb") as opened:
            before = os.fstat(opened.fileno())
            files = _read(opened, limits, before.st_size, str(source))
            after = os.fstat(opened.fileno())
    except OSError as error:
        raise refuse(
            f"cannot be read: {error.strerror or error}", where=str(source), next_step="check the archive, then retry"
        ) from error
    except _BROKEN as error:
        raise refuse(f"not a sound archive: {error}", where=str(source), next_step=_REPACK) from error
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise refuse("changed while it was read", where=str(source), next_step="wait for its writer, then try again")
    return {path: content for path, content in _without_top(files).items() if not is_ignored(path)}


def _read(opened: IO[bytes], limits: Limits, size: int, where: str) -> dict[str, bytes]:
    if size > limits.total_bytes:
        raise over(where, f"{size} bytes, more than {limits.total_bytes}")
    head = opened.read(512)
    opened.seek(0)
    if head.startswith(b"PK"):
        return _read_zip(opened, limits, size)
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
    return _read_tar(_Metered(stream, limits, size), limits)


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


def _read_zip(opened: IO[bytes], limits: Limits, size: int) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    total = 0
    with zipfile.ZipFile(opened) as archive:
        members = archive.infolist()
        if len(members) > 2 * limits.files:
            raise over("archive", f"more than {2 * limits.files} members")
        for member in members:
            _check_zip_member(member, limits)
            if member.is_dir():
                continue
            content = bytearray()
            with archive.open(member) as stream:
                for chunk in _chunks(stream, member.filename, limits):
                    content += chunk
                    check_expansion(total + len(content), size, limits)
            total += len(content)
            _add(files, member.filename, bytes(content), limits)
    return files


def _check_zip_member(member: zipfile.ZipInfo, limits: Limits) -> None:
    # orig_filename: zipfile cuts a name at NUL and translates separators before anybody sees it.
    name = check_path(member.orig_filename.removesuffix("/"), limits)
    if member.flag_bits & 0x1:
        raise refuse("is encrypted", where=name, next_step=_REPACK)
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise refuse("is a link or a special file inside an archive", where=name, next_step=_REPACK)


def _read_tar(stream: _Metered, limits: Limits) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
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
            _add(files, name, b"".join(_chunks(body, name, limits)), limits)
    if not stream.ends_like_a_tar():
        raise refuse("the archive is cut off", where="archive", next_step="fetch or pack it again")
    return files


def _chunks(stream: IO[bytes], name: str, limits: Limits) -> Iterator[bytes]:
    count = 0
    while chunk := stream.read(CHUNK):
        count += len(chunk)
        if count > limits.file_bytes:
            raise over(name, f"more than {limits.file_bytes} bytes")
        yield chunk


def _add(files: dict[str, bytes], name: str, content: bytes, limits: Limits) -> None:
    if name in files:
        raise refuse("ambiguous: the archive has two members of this name", where=name, next_step=_REPACK)
    if len(files) >= limits.files:
        raise over(name, f"more than {limits.files} files")
    files[name] = content


def _without_top(files: dict[str, bytes]) -> dict[str, bytes]:
    tops = {path.split("/", 1)[0] for path in files}
    if len(tops) != 1 or any("/" not in path for path in files):
        return files
    return {path.split("/", 1)[1]: content for path, content in files.items()}
