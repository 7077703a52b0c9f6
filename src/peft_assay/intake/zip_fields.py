"""Reads the extra fields of a zip's headers, and refuses those by which readers find other names, sizes or kinds.

Formats: PKWARE's APPNOTE 6.3.10, sections 4.5 and 4.6, and Info-ZIP's extrafld.txt.
"""

import zlib
from collections.abc import Mapping

from peft_assay.core.errors import IntakeError
from peft_assay.intake.interface import refuse
from peft_assay.intake.streams import REPACK

ExtraFields = Mapping[int, bytes]
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075
_HARMLESS = frozenset({0x000A, 0x5455, 0x5855, 0x7855, 0x7875, 0xCAFE})
"""Times and owners (NTFS, Info-ZIP's three forms), and the mark of Java's jar."""
_UNKNOWN = 0xFFFFFFFF
_VERSION = 45
"""The format version for zip64. Members that need a later one are packed, or hidden, in ways that few readers know."""


def odd(message: str, name: bytes = b"") -> IntakeError:
    """Return the error for content that zip readers read in several ways; the caller raises it."""
    return refuse(message, where=name.decode("utf-8", "replace") or "archive", next_step=REPACK)


def read_fields(extra: bytes, name: bytes) -> ExtraFields:
    """Return the extra fields of the member `name`, each once; raises IntakeError for those that not every reader
    knows.
    """
    found: dict[int, bytes] = {}
    at = 0
    while at < len(extra):
        kind, length = (int.from_bytes(extra[at + n : at + n + 2], "little") for n in (0, 2))
        body = extra[at + 4 : at + 4 + length]
        if len(extra) - at < 4 or len(body) != length:
            raise odd("its extra fields are cut off", name)
        if kind in found:
            raise odd(f"it has two extra fields {kind:#06x}", name)
        if kind == _UNICODE_PATH:
            _check_unicode(body, name)
        elif kind != _ZIP64 and kind not in _HARMLESS:
            raise odd(f"it has an extra field {kind:#06x}, which readers read in several ways or not at all", name)
        found[kind] = body
        at += 4 + length
    return found


def _check_unicode(body: bytes, name: bytes) -> None:
    if body[:1] != b"\1" or body[1:5] != zlib.crc32(name).to_bytes(4, "little") or body[5:] != name:
        raise odd("two names: its header and a Unicode path field differ", name)


def zip64(fields: ExtraFields, values: tuple[int, ...], name: bytes) -> tuple[int, ...]:
    """Return `values`, those too large for their place taken from the zip64 field, which holds these and no others."""
    body = fields.get(_ZIP64)
    missing = [value for value in values if value == _UNKNOWN]
    if body is None:
        if missing:
            raise odd("its sizes are in a zip64 field that is not there", name)
        return values
    if len(body) != 8 * len(missing):
        raise odd("it has a zip64 field of another length than its header asks for", name)
    large = iter([int.from_bytes(body[at : at + 8], "little") for at in range(0, len(body), 8)])
    return tuple(next(large) if value == _UNKNOWN else value for value in values)


def check_version(needed: int, name: bytes) -> None:
    """Raise IntakeError for a member that needs a later format version than zip64: readers differ in whether they read
    it.
    """
    if needed > _VERSION:
        raise odd(f"it needs version {needed} of the format, which not every reader has", name)


def has_zip64(fields: ExtraFields) -> bool:
    """Whether there is a zip64 field."""
    return _ZIP64 in fields
