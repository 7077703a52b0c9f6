"""Reads a zip's directory and its end: one end, one directory, nothing before, between or behind them.

Readers find the end in different ways (from behind, from the front, by the length of its comment, by a zip64 end
before it), so a file with two of them is two archives. Here every place must be where every one of them looks.
"""

import struct
from dataclasses import dataclass
from typing import IO

from peft_assay.intake.interface import Limits, over
from peft_assay.intake.zip_fields import ExtraFields, check_version, odd, read_fields, zip64

DIRECTORY_BYTES = 4 << 20
"""Most bytes of a zip's directory of members, which is read whole."""
_END, _ENTRY = struct.Struct("<4s4H2LH"), struct.Struct("<4s6H3L5H2L")
_END_64, _LOCATOR = struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_END_MARK, _END_64_MARK, _LOCATOR_MARK, _ENTRY_MARK = b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\1\2"
_COMMENT = 65_535
_PADDED = 10_240
"""bsdtar pads an archive that it writes into a pipe with zeros up to a multiple of this."""
_UNKNOWN_16, _UNKNOWN_32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Entry:
    """One member as the directory describes it."""

    name: bytes
    flags: int
    method: int
    modified: tuple[int, int]
    crc: int
    packed: int
    size: int
    offset: int
    attributes: int
    fields: ExtraFields


@dataclass(frozen=True, slots=True)
class _Directory:
    entries: int
    size: int
    offset: int


def read_directory(opened: IO[bytes], size: int, limits: Limits) -> tuple[list[Entry], int]:
    """Return the members in the order in which they lie in the file, and the offset of the directory. Raises
    IntakeError.
    """
    start = max(0, size - _END.size - _COMMENT - _PADDED)
    opened.seek(start)
    tail = opened.read(size - start)
    at = tail.rfind(_END_MARK)
    if at < 0 or len(tail) - at < _END.size:
        raise odd("not a sound archive: it has no end, or is cut off")
    end, zip64_at = _end(opened, tail, at, start)
    if end.entries > 2 * limits.files:
        raise over("archive", f"more than {2 * limits.files} members")
    if end.size > DIRECTORY_BYTES:
        raise over("archive", f"a directory of members of more than {DIRECTORY_BYTES} bytes")
    if end.offset + end.size != (start + at if zip64_at is None else zip64_at):
        raise odd("bytes lie before the archive or behind its directory: other readers see another archive")
    opened.seek(end.offset)
    directory = opened.read(end.size)
    if _END_MARK in directory:
        raise odd("its directory holds bytes that other readers take for the archive's end")
    return sorted(_entries(directory, end.entries), key=lambda entry: entry.offset), end.offset


def _end(opened: IO[bytes], tail: bytes, at: int, start: int) -> tuple[_Directory, int | None]:
    """Return the fields of the end record, and the offset of its zip64 form; raises IntakeError where the two
    differ.
    """
    _, disk, first, here, entries, length, offset, comment = _END.unpack_from(tail, at)
    after = tail[at + _END.size + comment :]
    if len(tail) - at - _END.size < comment or any(after) or (after and (start + len(tail)) % _PADDED):
        raise odd("bytes follow the archive's end, which some readers skip and others read")
    for other in _places(tail[:at], _END_MARK):
        claimed = int.from_bytes(tail[other + 20 : other + 22], "little")
        if other + _END.size + claimed in {len(tail), len(tail) - len(after)}:
            raise odd("it has two ends, one inside the other's comment: other readers see another archive")
    if disk or first or here != entries:
        raise odd("it is one of several volumes")
    plain = _Directory(entries, length, offset)
    locator = tail[at - _LOCATOR.size : at] if at >= _LOCATOR.size else b""
    if not locator.startswith(_LOCATOR_MARK):
        if entries == _UNKNOWN_16 or _UNKNOWN_32 in {length, offset}:
            raise odd("its end names a zip64 end that is not there")
        return plain, None
    _, disk, place, disks = _LOCATOR.unpack(locator)
    if disk or disks != 1 or place + _END_64.size != start + at - _LOCATOR.size:
        raise odd("its zip64 end is not where it says")
    return _agreed(opened, plain, place), place


def _agreed(opened: IO[bytes], plain: _Directory, place: int) -> _Directory:
    opened.seek(place)
    mark, length, _, _, disk, first, here, *large = _END_64.unpack(opened.read(_END_64.size))
    if mark != _END_64_MARK or length != _END_64.size - 12 or disk or first or here != large[0]:
        raise odd("not a sound archive: its zip64 end")
    short = ((plain.entries, _UNKNOWN_16), (plain.size, _UNKNOWN_32), (plain.offset, _UNKNOWN_32))
    if any(value not in {unknown, full} for (value, unknown), full in zip(short, large, strict=True)):
        raise odd("its two ends (zip and zip64) say different things: other readers see another archive")
    return _Directory(*large)


def _places(text: bytes, mark: bytes) -> list[int]:
    found, at = [], text.find(mark)
    while at >= 0:
        found.append(at)
        at = text.find(mark, at + 1)
    return found


def _entries(directory: bytes, count: int) -> list[Entry]:
    entries, at = [], 0
    for _ in range(count):
        if len(directory) - at < _ENTRY.size or not directory.startswith(_ENTRY_MARK, at):
            raise odd("not a sound archive: its directory is shorter than it says")
        values = _ENTRY.unpack_from(directory, at)
        ends = [at + _ENTRY.size]
        for length in values[10:13]:
            ends.append(ends[-1] + length)
        if ends[-1] > len(directory):
            raise odd("not a sound archive: its directory is cut off")
        name, extra = directory[ends[0] : ends[1]], directory[ends[1] : ends[2]]
        entries.append(_entry(values, name, read_fields(extra, name)))
        at = ends[-1]
    if at != len(directory):
        raise odd("not a sound archive: its directory is longer than its members need")
    return entries


def _entry(values: tuple[int, ...], name: bytes, fields: ExtraFields) -> Entry:
    flags, method, time, date, crc, packed, size = values[3:10]
    disk, attributes, offset = values[13], values[15], values[16]
    check_version(values[2], name)
    if disk:
        raise odd("it lies in another volume", name)
    size, packed, offset = zip64(fields, (size, packed, offset), name)
    return Entry(name, flags, method, (time, date), crc, packed, size, offset, attributes, fields)
