"""Reads a tar whose members lie one behind the other from its first byte to two blocks of zeros, and zeros only after.

Each member has one name and one size: those of its header, or of one pax or GNU header before it where they did not
fit. Headers that describe several members, sparse files, further volumes and anything that only some readers know are
refused, and so is content after the end, which some readers read and others do not.
"""

import re
from collections.abc import Iterator

from peft_assay.core.artifact import CONFIG_FILE
from peft_assay.intake.interface import Limits, Receive, over, refuse
from peft_assay.intake.paths import check_path
from peft_assay.intake.streams import CHUNK, REPACK, Metered
from peft_assay.intake.tar_headers import BLOCK, ZEROS, TarHeader, odd, parse_header, shown

HEADER_BYTES = 256 << 10
"""Most bytes of names and attributes before one member."""
_FILES, _FOLDER, _PAX, _PAX_FOR_ALL, _LONG_NAME = b"0\0", b"5", b"x", b"g", b"L"
_NAMING = {b"path", b"size"}
_HARMLESS = re.compile(
    rb"(mtime|atime|ctime|uid|gid|uname|gname|comment|(SCHILY|LIBARCHIVE)\.(dev|ino|nlink|fflags|creationtime|acl\..*|"
    rb"xattr\..*)|RHT\.security\.selinux)"
)
"""Attributes that change neither a member's name nor its content."""
_LENGTH = re.compile(rb"([1-9][0-9]{0,5}) ")
_FITS = 8**11
"""The least size in bytes that does not fit into a header."""
_NAME_BYTES = 99
"""The length of a name that fits into every header; of a longer one, tools leave at least `_SHORTENED`."""
_SHORTENED = 60
_OF_GIT = re.compile(rb"[0-9a-f]{40,64}\.data")
"""The name that `git archive` writes for a member whose name does not fit."""
_OF_7Z = re.compile(rb"@PathCut/_pc_crc32/[0-9A-F]{8}/([^/]*)")
"""The name that 7z writes for such a member."""
_NOT_PLAIN = re.compile(rb"[^A-Za-z0-9./-]")


def read_tar(stream: Metered, limits: Limits, receive: Receive) -> None:
    """Hands on every file of the tar in `stream`; raises IntakeError."""
    seen: set[str] = set()
    shorter: set[bytes] = set()
    for count, (header, name, size) in enumerate(_members(stream)):
        if count >= 2 * limits.files:
            raise over("archive", f"more than {2 * limits.files} members")
        path = _decoded(name).removeprefix("./")
        if _is_folder(header):
            if path.removesuffix("/") not in {".", ""}:
                check_path(path.removesuffix("/"), limits)
            if size:
                raise odd("a folder that has content", path)
            continue
        check_path(path, limits)
        if path in seen:
            raise refuse("ambiguous: the archive has two members of this name", where=path, next_step=REPACK)
        seen.add(path)
        if header.name != name:
            shorter.add(_checked_short(header.name, name))
        receive(path, size, (memoryview(piece) for piece in stream.pieces(size)))
        _skip_padding(stream, size, path)
    for path in seen:
        if path.encode() in shorter:
            raise odd("two members of this name, for readers that know one header alone", path)


def _checked_short(short: bytes, whole: bytes) -> bytes:
    """Return the name in the header of the member `whole`, as readers of headers alone see it; raises IntakeError."""
    names = {name.rpartition(b"/")[2] for name in (short, whole)}
    if CONFIG_FILE.encode() in names and len(names) > 1:
        raise odd("two names, and one of them is the configuration's", shown(whole))
    return short.removeprefix(b"./")


def _members(stream: Metered) -> Iterator[tuple[TarHeader, bytes, int]]:
    """Yield each file's or folder's header with its name and size, up to the archive's end."""
    said: dict[bytes, bytes] | None = None
    while (block := _block(stream)) != ZEROS:
        header = parse_header(block)
        if header.kind in _FILES or header.kind == _FOLDER:
            yield (header, *_named(header, said or {}))
            said = None
            continue
        if said is not None:
            raise odd("two headers describe one member", shown(header.name))
        if header.kind == _PAX_FOR_ALL:
            if _NAMING & _records(_attributes(stream, header)).keys():
                raise odd("one header names or describes all members", "archive")
        elif header.kind == _PAX:
            said = _records(_attributes(stream, header))
        elif header.kind == _LONG_NAME:
            said = {b"long": _long_name(_attributes(stream, header))}
        else:
            raise odd("is a link or a special file inside an archive", shown(header.name))
    if said is not None:
        raise odd("its last header describes no member", "archive")
    _end(stream)


def _is_folder(header: TarHeader) -> bool:
    """Whether all readers take it for a folder: v7 has no kind for them, but a name that ends like one."""
    return header.kind == _FOLDER or (header.dialect == "v7" and header.kind == b"\0" and header.name.endswith(b"/"))


def _block(stream: Metered) -> bytes:
    block = stream.exactly(BLOCK)
    if len(block) != BLOCK:
        raise refuse("the archive is cut off", where="archive", next_step="fetch or pack it again")
    return block


def _end(stream: Metered) -> None:
    """Read on behind the first block of zeros; raises IntakeError unless a second one and only zeros follow."""
    if _block(stream) != ZEROS:
        raise odd("members follow a block of zeros, which some readers take for the end", "archive")
    while content := stream.read(CHUNK):
        if any(content):
            raise odd("bytes follow the archive's end, which some readers skip and others read", "archive")


def _attributes(stream: Metered, header: TarHeader) -> bytes:
    if header.size > HEADER_BYTES:
        raise over("archive", f"names and attributes of a member take more than {HEADER_BYTES} bytes")
    content = stream.exactly(header.size)
    if len(content) != header.size:
        raise refuse("the archive is cut off", where="archive", next_step="fetch or pack it again")
    _skip_padding(stream, header.size, shown(header.name))
    return content


def _skip_padding(stream: Metered, size: int, where: str) -> None:
    if any(stream.exactly(-size % BLOCK)):
        raise odd("bytes lie between it and the next member", where)


def _records(content: bytes) -> dict[bytes, bytes]:
    """Return the attributes of a pax header, each once; raises IntakeError for those that not every reader knows."""
    found: dict[bytes, bytes] = {}
    while content:
        length = _LENGTH.match(content)
        record = content[length.end() : int(length[1])] if length else b""
        key, equals, value = record.partition(b"=")
        if length is None or not record.endswith(b"\n") or len(content) < int(length[1]) or not equals:
            raise odd("a pax header whose attributes do not follow each other", "archive")
        if key in found:
            raise odd(f"a pax header says {shown(key)} twice", "archive")
        if key not in _NAMING and not _HARMLESS.fullmatch(key):
            raise odd(f"a pax header says {shown(key)}, which readers read in several ways or not at all", "archive")
        found[key] = value[:-1]
        content = content[int(length[1]) :]
    return found


def _long_name(content: bytes) -> bytes:
    name, _, rest = content.partition(b"\0")
    if rest.strip(b"\0") or not name:
        raise odd("a long name that goes on behind its end", shown(name))
    return name


def _named(header: TarHeader, said: dict[bytes, bytes]) -> tuple[bytes, int]:
    """Return the member's one name and size. Raises IntakeError where two headers give two possible values."""
    name, size = header.name, header.size
    wanted = "gnu" if b"long" in said else "ustar"
    if said and header.dialect != wanted:
        raise odd("a header before it is of another dialect of tar", shown(name))
    if b"long" in said or b"path" in said:
        other = said.get(b"long") or said[b"path"]
        if not _is_shortened(name, other, header.dialect):
            raise odd(f"two names: its header says {shown(name)!r}, the one before it {shown(other)!r}", shown(other))
        name = other
    if b"size" in said:
        if not said[b"size"].isdigit():
            raise odd("its size is not a plain number", shown(name))
        larger = int(said[b"size"][:20])
        if larger != size and (larger < _FITS or size):
            raise odd(f"two sizes: its header says {size}, the one before it {larger}", shown(name))
        size = larger
    return name, size


def _is_shortened(name: bytes, whole: bytes, dialect: str) -> bool:
    """Return whether a tool of the field writes `name` into the header of a member that is called `whole`.

    Tools cut off its end or its folders, leave out or replace letters that are not ASCII, or write a digest (git).
    """
    if name == whole and dialect == "ustar":
        return True
    short, full = (_NOT_PLAIN.sub(b"", text.rstrip(b"/")) for text in (name, whole))
    if len(whole) < _NAME_BYTES:
        return not whole.isascii() and short == full
    if dialect == "ustar" and _OF_GIT.fullmatch(name):
        return True
    if cut := _OF_7Z.fullmatch(name.rstrip(b"/")):
        return whole.rstrip(b"/").rpartition(b"/")[2].startswith(cut[1])
    last = short.rpartition(b"/")[2]
    return len(name) >= _SHORTENED and (full.startswith(short) or full.rpartition(b"/")[2].startswith(last))


def _decoded(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise odd("the path is not safe: it is not UTF-8, so that readers see different names", shown(name)) from error
