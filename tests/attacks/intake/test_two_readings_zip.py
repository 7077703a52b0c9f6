"""Zips that are two archives, each with its control: what two kinds of ordinary reader make of the same bytes.

`by_directory` goes by the directory at the end (Python's zipfile, most tools); `by_members` from one member to the next
(whatever reads from a pipe). Where they agree there is one archive; each exhibit here makes them differ, or shows the
other difference that it is about.
"""

import io
import struct
import subprocess
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from shutil import which

import pytest

from peft_assay.core.errors import IntakeError
from peft_assay.intake.admit import admit

CONFIG = b'{"peft_type": "LORA"}'
OTHER = b'{"peft_type": "LORA", "lora_alpha": 800}'
NAME = "adapter_config.json"
Read = dict[str, bytes]


def by_directory(content: bytes) -> Read:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def by_members(content: bytes) -> Read:
    """From the first byte on, as a reader does that cannot look ahead."""
    found, at = {}, 0
    while content[at : at + 4] == b"PK\3\4":
        _, _, flags, method, _, _, _, packed, _, name, extra = struct.unpack_from("<4s5H3L2H", content, at)
        begin = at + 30 + name + extra
        if method == 8:
            inflate = zlib.decompressobj(-15)
            body = inflate.decompress(content[begin:])
            end = len(content) - len(inflate.unused_data)
        else:
            end = content.index(b"PK\7\x08", begin) if flags & 8 else begin + packed
            body = content[begin:end]
        found.setdefault(content[at + 30 : at + 30 + name].decode(), body)
        at = end + (16 if flags & 8 else 0)
    return found


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return packed.getvalue()


class _Pipe:
    def __init__(self) -> None:
        self.content = b""

    def write(self, piece: bytes) -> int:
        self.content += piece
        return len(piece)

    def flush(self) -> None:
        pass


def streamed(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """As it is written into a pipe: what a header cannot know yet follows its member."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", method) as archive:  # type: ignore[call-overload]
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return pipe.content


def parts(content: bytes) -> tuple[bytes, bytes, bytes]:
    """Members, directory and end."""
    end = content.rindex(b"PK\5\6")
    length, offset = struct.unpack_from("<2L", content, end + 12)
    return content[:offset], content[offset : offset + length], content[end:]


def joined(members: bytes, directory: bytes, comment: bytes = b"", count: int = 1) -> bytes:
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(members), len(comment))
    return members + directory + end + comment


def patched(content: bytes, mark: bytes, offset: int, value: bytes) -> bytes:
    at = content.index(mark) + offset
    return content[:at] + value + content[at + len(value) :]


def two_zips() -> bytes:
    first, second = zipped((NAME, CONFIG)), zipped((NAME, OTHER))
    return first + second


def two_zips_of_one_length() -> bytes:
    """The second one's offsets count from the file's start, so that nothing seems to lie before it."""
    first = zipped((NAME, CONFIG))
    members, directory, _ = parts(zipped((NAME, OTHER)))
    moved = directory[:42] + struct.pack("<L", len(first)) + directory[46:]
    return joined(first + members, moved)


def a_member_that_is_not_listed() -> bytes:
    hidden, _, _ = parts(zipped(("adapter_model.safetensors", b"hidden")))
    members, directory, _ = parts(zipped((NAME, CONFIG)))
    return joined(members + hidden, directory)


def an_unlisted_member_first() -> bytes:
    hidden, _, _ = parts(zipped((NAME, OTHER)))
    members, directory, _ = parts(zipped((NAME, CONFIG)))
    return joined(hidden + members, directory[:42] + struct.pack("<L", len(hidden)) + directory[46:])


def another_name_before_the_member() -> bytes:
    return patched(zipped((NAME, CONFIG)), b"PK\3\4", 30, b"ADAPTER")


def a_member_inside_another_s_packed_bytes() -> bytes:
    """Deflate ends before the size that is said; whoever goes by deflate meets another member there."""
    hidden, _, _ = parts(zipped(("adapter_model.safetensors", b"hidden")))
    members, directory, _ = parts(zipped((NAME, CONFIG)))
    packed = struct.pack("<L", struct.unpack_from("<L", members, 18)[0] + len(hidden))
    return joined(members[:18] + packed + members[22:] + hidden, directory[:20] + packed + directory[24:])


def a_stored_member_that_ends_twice() -> bytes:
    """Where sizes follow, a reader looks for their mark: here the content has one, and a member behind it."""
    hidden, _, _ = parts(zipped(("adapter_model.safetensors", b"hidden")))
    content = CONFIG + b"PK\7\x08" + struct.pack("<3L", zlib.crc32(CONFIG), len(CONFIG), len(CONFIG)) + hidden
    return streamed((NAME, content), method=zipfile.ZIP_STORED)


def another_size_before_the_member() -> bytes:
    members, directory, _ = parts(zipped((NAME, CONFIG + OTHER), method=zipfile.ZIP_STORED))
    return joined(members[:18] + struct.pack("<2L", len(CONFIG), len(CONFIG)) + members[26:], directory)


def another_method_before_the_member() -> bytes:
    return patched(zipped((NAME, CONFIG)), b"PK\3\4", 8, b"\0\0")


MEMBERS_DIFFER: list[Callable[[], bytes]] = [
    two_zips, two_zips_of_one_length, a_member_that_is_not_listed, an_unlisted_member_first,
    a_member_inside_another_s_packed_bytes, a_stored_member_that_ends_twice, another_size_before_the_member,
    another_method_before_the_member,
]  # fmt: skip


def refused(tmp_path: Path, content: bytes) -> IntakeError:
    source = tmp_path / "a.zip"
    source.write_bytes(content)
    with pytest.raises(IntakeError) as refusal:
        admit(source)
    assert refusal.value.where
    assert refusal.value.next_step
    return refusal.value


@pytest.mark.parametrize("exhibit", MEMBERS_DIFFER, ids=lambda exhibit: exhibit.__name__)
def test_what_two_readers_read_as_two_archives_is_refused(exhibit, tmp_path):
    content = exhibit()
    assert by_directory(content) != by_members(content)
    assert any(words in refused(tmp_path, content).message for words in ("other readers", "some readers", "differ"))


@pytest.mark.parametrize("write", [zipped, streamed])
def test_control_the_two_readers_agree_on_ordinary_zips(write, tmp_path):
    members = (("adapter_config.json", CONFIG), ("adapter_model.safetensors", b"weights"))
    content = write(*members)
    assert by_directory(content) == by_members(content) == dict(members)
    (tmp_path / "a.zip").write_bytes(content)
    assert dict(admit(tmp_path / "a.zip").files) == dict(members)


def test_a_name_that_differs_before_the_member(tmp_path):
    content = another_name_before_the_member()
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() != list(by_members(content))
    assert "two names" in refused(tmp_path, content).message


def _with_extra(kind: int, body: bytes, name: str = "notes.txt") -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(NAME, CONFIG)
        member = zipfile.ZipInfo(name)
        member.extra = struct.pack("<2H", kind, len(body)) + body
        archive.writestr(member, b"x")
    return packed.getvalue()


def _unicode(name: str, other: str) -> bytes:
    return b"\1" + struct.pack("<L", zlib.crc32(name.encode())) + other.encode()


def test_a_unicode_path_field_gives_the_member_another_name(tmp_path):
    content = _with_extra(0x7075, _unicode("notes.txt", "adapter_model.safetensors"))
    assert "two names" in refused(tmp_path, content).message
    if which("7z"):
        listed = subprocess.run(["7z", "l", tmp_path / "a.zip"], capture_output=True, text=True, check=True).stdout
        assert "adapter_model.safetensors" in listed  # 7z goes by the field,
    assert "adapter_model.safetensors" not in by_directory(content)  # Python 3.11 by the header


def test_a_unicode_path_field_that_says_the_same_is_fine(tmp_path):
    (tmp_path / "a.zip").write_bytes(_with_extra(0x7075, _unicode("notes.txt", "notes.txt")))
    assert set(admit(tmp_path / "a.zip").contents) == {NAME, "notes.txt"}


@pytest.mark.parametrize(
    "body", [_unicode("else.txt", "notes.txt"), b"\2" + _unicode("notes.txt", "notes.txt")[1:], b"", b"\1\0\0\0\0"]
)
def test_a_unicode_path_field_of_another_member_or_form(body, tmp_path):
    assert "two names" in refused(tmp_path, _with_extra(0x7075, body)).message


@pytest.mark.parametrize("kind", [0x9901, 0x000D, 0x756E, 0x0017, 0x6C78, 0xBEEF])
def test_fields_that_say_what_a_member_is(kind, tmp_path):
    """AES, two Unix fields with targets of links, strong encryption, libarchive's attributes, and an unknown one."""
    assert f"extra field {kind:#06x}" in refused(tmp_path, _with_extra(kind, bytes(14))).message


def test_an_end_inside_the_comment_of_another_end(tmp_path):
    """Who looks for the end from the front finds the first, from behind the second; both reach the file's end."""
    members, directory, _ = parts(zipped((NAME, CONFIG)))
    inner_members, inner_directory, _ = parts(zipped((NAME, OTHER)))
    at = len(members) + len(directory) + 22
    moved = inner_directory[:42] + struct.pack("<L", at) + inner_directory[46:]
    inner = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(moved), at + len(inner_members), 0)
    content = joined(members, directory, inner_members + moved + inner)
    front = content.index(b"PK\5\6")
    assert front + 22 + struct.unpack_from("<H", content, front + 20)[0] == len(content)
    assert by_directory(content)[NAME] == OTHER
    assert by_members(content)[NAME] == CONFIG
    assert "two ends" in refused(tmp_path, content).message


def test_a_zip64_end_that_says_otherwise(tmp_path):
    """Some readers look at a zip64 end only where the plain one says that it does not suffice."""
    members, directory, _ = parts(zipped((NAME, CONFIG)))
    other, other_directory, _ = parts(zipped((NAME, OTHER)))
    moved = other_directory[:42] + struct.pack("<L", len(members)) + other_directory[46:]
    at = len(members) + len(other) + len(directory) + len(moved)
    large = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(moved), at - len(moved))
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(directory), len(members) + len(other), 0)
    content = members + other + directory + moved + large + locator + end
    assert by_directory(content) == {NAME: OTHER}
    plain = joined(members + other, directory)
    assert by_directory(plain) == {NAME: CONFIG}
    assert "two ends" in refused(tmp_path, content).message


@pytest.mark.parametrize("missing", ["entries", "offset"])
def test_an_end_that_names_a_zip64_end_that_is_not_there(missing, tmp_path):
    content = zipped((NAME, CONFIG))
    content = (
        patched(content, b"PK\5\6", 8, b"\xff" * 4)
        if missing == "entries"
        else patched(content, b"PK\5\6", 16, b"\xff" * 4)
    )
    assert "zip64" in refused(tmp_path, content).message


def test_bytes_before_and_behind(tmp_path):
    """A file may be a picture, a program or a document in front of, or behind, the zip that zipfile finds."""
    sound = zipped((NAME, CONFIG))
    for content in (b"PK\7\x08" + sound, b"PK-like " * 9 + sound, sound + b"behind", sound + b"\0" * 100 + b"x"):
        assert by_directory(content) == {NAME: CONFIG}
        assert any(words in refused(tmp_path, content).message for words in ("other readers", "bytes follow"))


def test_a_comment_is_fine_and_so_are_the_zeros_of_bsdtar(tmp_path):
    """`git archive` writes the commit; bsdtar fills what it writes into a pipe."""
    members, directory, _ = parts(zipped((NAME, CONFIG)))
    for number, content in enumerate([joined(members, directory, b"0" * 40), joined(members, directory)]):
        whole = content + bytes(-len(content) % 10_240) if number else content
        (tmp_path / "a.zip").write_bytes(whole)
        assert dict(admit(tmp_path / "a.zip").files) == {NAME: CONFIG}
    assert "bytes follow" in refused(tmp_path, joined(members, directory) + bytes(100)).message


@pytest.mark.parametrize(
    ("offset", "value", "why"),
    [
        (8, b"\x08\0", "flags"),
        (8, b"\x20\0", "flags"),
        (9, b"\x20", "flags"),
        (12, b"\1\0", "time differ"),
        (16, b"\0\0\0\0", "checksum"),
        (38, b"\x10", "attributes folder"),
        (40, b"\0\x40", "attributes"),
        (34, b"\1\0", "volume"),
        (6, b"\x33", "version 51"),
    ],
)
def test_whatever_the_directory_says_alone(offset, value, why, tmp_path):
    assert why in refused(tmp_path, patched(zipped((NAME, CONFIG)), b"PK\1\2", offset, value)).message


def test_what_follows_a_member_says_otherwise(tmp_path):
    content = streamed((NAME, CONFIG))
    assert "bytes lie between" in refused(tmp_path, patched(content, b"PK\7\x08", 8, b"\x01")).message
    at = content.index(b"PK\7\x08")
    members, directory, _ = parts(content)
    assert "bytes lie between" in refused(tmp_path, joined(members[:at], directory)).message


def test_a_checksum_that_is_wrong_everywhere(tmp_path):
    content = zipped((NAME, CONFIG))
    for mark, offset in ((b"PK\1\2", 16), (b"PK\3\4", 14)):
        content = patched(content, mark, offset, b"\0\0\0\0")
    assert "checksum" in refused(tmp_path, content).message


def test_folders_that_are_one_where_case_is_folded(tmp_path):
    content = zipped(("A/adapter_config.json", CONFIG), ("a/adapter_model.safetensors", b"x"))
    assert len({name.lower().split("/")[0] for name in by_directory(content)}) == 1
    assert "two folders claim" in refused(tmp_path, content).message


@pytest.mark.parametrize("version", [";1", ";", ";007"])
def test_a_version_number_that_unzip_leaves_out(version, tmp_path):
    content = zipped((NAME, CONFIG), (NAME + version, OTHER))
    assert by_directory(content) == by_members(content) == {NAME: CONFIG, NAME + version: OTHER}
    if which("unzip"):
        (tmp_path / "b.zip").write_bytes(content)
        subprocess.run(["unzip", "-qq", "-o", "b.zip", "-d", "out"], cwd=tmp_path, check=True)
        assert (tmp_path / "out" / NAME).read_bytes() == OTHER
    assert "unzip leaves out" in refused(tmp_path, content).message


def test_a_semicolon_that_every_reader_keeps(tmp_path):
    content = zipped((NAME, CONFIG), ("notes;1.txt", b"x"), ("a;b", b"x"))
    (tmp_path / "a.zip").write_bytes(content)
    assert dict(admit(tmp_path / "a.zip").files) == by_directory(content)


def test_a_name_that_is_the_file_itself_on_windows(tmp_path):
    assert "stream" in refused(tmp_path, zipped((NAME, CONFIG), (f"{NAME}::$DATA", OTHER))).message
    content = zipped((NAME, CONFIG), ("run-12:30/notes.txt", b"x"))
    (tmp_path / "b.zip").write_bytes(content)
    assert "run-12:30/notes.txt" in admit(tmp_path / "b.zip").files
