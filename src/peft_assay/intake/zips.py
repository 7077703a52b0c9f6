"""Reads a zip whose members tile it from its first byte to its directory and are described alike in both places.

Some readers go by the directory and some from member to member; some use the header before a member, some the
descriptor after it. Each member's name, flags, method, time, checksum and sizes must be the same in all of these
places, its packed bytes must end at their stated end, and each byte must belong to a member or the directory.
"""

import re
import stat
import struct
import zlib
from collections.abc import Iterator
from typing import IO

from peft_assay.intake.interface import Limits, Receive
from peft_assay.intake.paths import check_path
from peft_assay.intake.streams import CHUNK, Inflater, OneStream, check_expansion
from peft_assay.intake.zip_directory import Entry, read_directory
from peft_assay.intake.zip_fields import check_version, has_zip64, odd, read_fields, zip64

_LOCAL = struct.Struct("<4s5H3L2H")
_LOCAL_MARK, _AFTER_MARK = b"PK\3\4", b"PK\7\x08"
_ENCRYPTED, _SIZES_AFTER, _UTF8 = 0x1, 0x8, 0x800
_FLAGS = _SIZES_AFTER | _UTF8 | 0x6
"""Allowed flags: a descriptor, UTF-8, and two for the effort of deflate. The others mean encryption, patches, masked
headers."""
_STORED, _DEFLATED = 0, 8
"""The methods that every reader has; none of the others can be stopped at a given size."""
_FOLDER = 0x10
"""The MS-DOS attribute of a folder."""
_LARGE = 0xFFFFFFFF
_VMS_VERSION = re.compile(rb";[0-9]*")
"""The end of a name that `unzip` takes for a version number of VMS, and leaves out."""


def read_zip(opened: IO[bytes], limits: Limits, size: int, receive: Receive) -> None:
    """Hands on every file of the zip `opened` of `size` bytes; raises IntakeError."""
    entries, directory = read_directory(opened, size, limits)
    seen: set[str] = set()
    unpacked = 0
    for entry in entries:
        _check_entry(entry, limits)
        if _path(entry) in seen:
            raise odd("ambiguous: the archive has two members of this name", entry.name)
        seen.add(_path(entry))
        unpacked += entry.size
        check_expansion(unpacked, size, limits)
    places = [entry.offset for entry in entries] + [directory]
    if places[0] != 0:
        raise odd("bytes lie before its first member: other readers see another archive")
    bodies = [_body(opened, entry, end) for entry, end in zip(entries, places[1:], strict=True)]
    for entry, body in zip(entries, bodies, strict=True):
        content = _content(opened, entry, body)
        if entry.name.endswith(b"/"):
            if any(content):
                raise odd("a folder that has content", entry.name)
            continue
        receive(_path(entry), entry.size, content)


def _path(entry: Entry) -> str:
    """Return the path as UTF-8: the flag says so, and tools on Linux and macOS that leave the flag out mean it too."""
    try:
        return entry.name.decode().removeprefix("./")
    except UnicodeDecodeError as error:
        raise odd("the path is not safe: it is not UTF-8, so that readers see different names", entry.name) from error


def _check_entry(entry: Entry, limits: Limits) -> None:
    is_folder = entry.name.endswith(b"/")
    if entry.name != b"./":
        check_path(_path(entry).removesuffix("/"), limits)
    if _VMS_VERSION.fullmatch(entry.name[entry.name.rfind(b";") :]):
        raise odd("two names: unzip leaves out the ';' at its end and the digits after it", entry.name)
    if entry.flags & _ENCRYPTED:
        raise odd("is encrypted", entry.name)
    if entry.flags & ~_FLAGS:
        raise odd(f"has flags that few readers know ({entry.flags & ~_FLAGS:#06x})", entry.name)
    if entry.method not in {_STORED, _DEFLATED}:
        raise odd("is packed by another method than deflate", entry.name)
    kind = stat.S_IFMT(entry.attributes >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise odd("is a link or a special file inside an archive", entry.name)
    if (kind == stat.S_IFDIR and not is_folder) or (kind == stat.S_IFREG and is_folder):
        raise odd("its name says folder and its attributes file, or the other way round", entry.name)
    if entry.attributes & _FOLDER and not is_folder:
        raise odd("its name says file and its attributes folder", entry.name)
    if entry.method == _STORED and entry.packed != entry.size:
        raise odd("is stored, and in two sizes", entry.name)


def _body(opened: IO[bytes], entry: Entry, end: int) -> int:
    """Return where the packed bytes begin. Raises IntakeError unless header, bytes and descriptor fill all up
    to `end`.
    """
    opened.seek(entry.offset)
    header = opened.read(_LOCAL.size)
    if len(header) != _LOCAL.size or not header.startswith(_LOCAL_MARK):
        raise odd("does not lie where the directory says", entry.name)
    _, version, flags, method, time, date, *said, name_bytes, extra_bytes = _LOCAL.unpack(header)
    check_version(version, entry.name)
    name, extra = opened.read(name_bytes), opened.read(extra_bytes)
    if name != entry.name:
        raise odd("two names: in the directory and before the member", entry.name)
    if (flags, method, (time, date)) != (entry.flags, entry.method, entry.modified):
        raise odd("flags, method or time differ between the directory and the header before it", entry.name)
    fields = read_fields(extra, name)
    crc, packed, size = said
    size, packed = zip64(fields, (size, packed), name)
    known = (entry.crc, entry.packed, entry.size)
    later = bool(flags & _SIZES_AFTER)
    if any(one != other and not (later and one == 0) for one, other in zip((crc, packed, size), known, strict=True)):
        raise odd("checksum or sizes differ between the directory and the header before it", entry.name)
    begin: int = entry.offset + _LOCAL.size + name_bytes + extra_bytes
    opened.seek(begin + entry.packed)
    gap = end - begin - entry.packed
    if gap != 0 if not later else not _is_descriptor(opened.read(max(0, min(gap, 25))), known, has_zip64(fields)):
        raise odd("bytes lie between it and the next part, which other readers take for members", entry.name)
    return begin


def _is_descriptor(after: bytes, known: tuple[int, int, int], wide: bool) -> bool:
    """Return whether `after` repeats the sizes and the checksum of the directory, in the width that the header
    announced.
    """
    crc, packed, size = known
    if not wide and max(packed, size) <= _LARGE:
        return after.removeprefix(_AFTER_MARK) == struct.pack("<3L", crc, packed, size)
    return after.removeprefix(_AFTER_MARK) == struct.pack("<L2Q", crc, packed, size)


class _Piece:
    """The packed bytes of one member."""

    def __init__(self, opened: IO[bytes], begin: int, length: int) -> None:
        self._opened, self._rest = opened, length
        opened.seek(begin)

    def read(self, size: int, /) -> bytes:
        content = self._opened.read(min(size, self._rest))
        self._rest -= len(content)
        return content


def _content(opened: IO[bytes], entry: Entry, begin: int) -> Iterator[memoryview]:
    """Yield the member's content. Raises IntakeError where its sizes or its checksum differ from the directory's."""
    piece = _Piece(opened, begin, entry.packed)
    stream = OneStream(piece, Inflater(-15), "packed member", _path(entry)) if entry.method == _DEFLATED else piece
    count, crc, last = 0, 0, b""
    guarded = entry.method == _STORED and entry.flags & _SIZES_AFTER
    while content := stream.read(CHUNK):
        count += len(content)
        crc = zlib.crc32(content, crc)
        if guarded and _AFTER_MARK in last + content:
            raise odd("holds, unpacked, bytes that other readers take for its end", entry.name)
        last = content[-3:]
        if count > entry.size:
            break
        yield memoryview(content)
    if (count, crc) != (entry.size, entry.crc):
        raise odd("is not as long as it says, or has another checksum", entry.name)
