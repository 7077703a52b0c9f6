"""Reads one header block of a tar, in the three forms that tools write: v7, POSIX ustar and GNU.

Readers are lenient in different ways (checksums of signed bytes, numbers with signs or underscores, text behind a
NUL, a prefix where GNU keeps times), so a header is taken only where every field has its one plain spelling.
"""

import re
from dataclasses import dataclass

from peft_assay.core.errors import IntakeError
from peft_assay.intake.interface import refuse
from peft_assay.intake.streams import REPACK

BLOCK = 512
ZEROS = bytes(BLOCK)
_DIALECTS = {b"ustar\x0000": "ustar", b"ustar  \0": "gnu", bytes(8): "v7"}
_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
_CHECKSUM = slice(148, 156)
_NUMBERS = {
    "mode": slice(100, 108), "owner": slice(108, 116), "group": slice(116, 124), "time": slice(136, 148),
    "device": slice(329, 337), "minor device": slice(337, 345),
}  # fmt: skip
"""No value is read from these fields; but where one is not a number, tarfile takes the header for the archive's end."""
_REST = {"ustar": slice(500, 512), "gnu": slice(345, 512), "v7": slice(345, 512)}
"""The bytes of a header that each dialect does not use. GNU's incremental archives use them, and other readers take
them for a part of the name."""


@dataclass(frozen=True, slots=True)
class TarHeader:
    """The fields of one header block, about the member that follows."""

    name: bytes
    kind: bytes
    size: int
    dialect: str


def is_header(block: bytes) -> bool:
    """Whether `block` begins a tar: its checksum is right, in any reading."""
    if len(block) != BLOCK or block == ZEROS:
        return False
    found = _OCTAL.fullmatch(block[_CHECKSUM])
    return found is not None and int(found[1], 8) == _sum(block)


def parse_header(block: bytes) -> TarHeader:
    """Return the header `block`. Raises IntakeError where any reader could read it differently."""
    if not is_header(block):
        raise odd("not a sound archive: a header whose checksum is wrong", "archive")
    dialect = _DIALECTS.get(block[257:265])
    name = _text(block[:100], "name")
    if dialect is None:
        raise odd("its header is of an unknown dialect of tar", shown(name))
    prefix = _text(block[345:500], "prefix") if dialect == "ustar" else b""
    whole = prefix + b"/" + name if prefix else name
    if any(block[_REST[dialect]]):
        raise odd("its header has bytes where its dialect of tar has none (an incremental archive?)", shown(whole))
    for field, place in _NUMBERS.items():
        _number(block[place], field, shown(whole))
    kind = block[156:157]
    if kind in b"0\0" and _text(block[157:257], "link"):
        raise odd("is a link or a special file inside an archive", shown(whole))
    return TarHeader(whole, kind, _number(block[124:136], "size", shown(whole)), dialect)


def shown(name: bytes) -> str:
    """Return `name` as an error may name it."""
    return name.decode("utf-8", "replace") or "archive"


def odd(message: str, where: str) -> IntakeError:
    """Return the error for content that tar readers read in several ways; the caller raises it."""
    return refuse(message, where=where, next_step=REPACK)


def _sum(block: bytes) -> int:
    return sum(block) - sum(block[_CHECKSUM]) + 8 * ord(" ")


def _text(field: bytes, what: str) -> bytes:
    text, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise odd(f"a member's {what} goes on behind its end", shown(text))
    return text


def _number(field: bytes, what: str, where: str) -> int:
    if field[0] in {0x80, 0xFF}:  # GNU: large or negative, in base 256
        value = int.from_bytes(field[1:], "big", signed=field[0] == 0xFF)
        if what == "size" and not 8**11 <= value < 1 << 63:
            raise odd(f"its {what} is spelt in a form that is for larger numbers", where)
        return value
    found = _OCTAL.fullmatch(field)
    if found is None and (what == "size" or field.strip(b" \0")):
        raise odd(f"its {what} is not a plain octal number", where)
    return int(found[1], 8) if found else 0
