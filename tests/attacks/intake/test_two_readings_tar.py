"""Tars that are two archives, each with its control: what two readers, or two settings of one, make of the same bytes."""

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from peft_assay.core.errors import IntakeError
from peft_assay.intake.admit import admit

CONFIG = b'{"peft_type": "LORA"}'
OTHER = b'{"peft_type": "LORA", "lora_alpha": 800}'
NAME = "adapter_config.json"
END = bytes(1024)
Read = dict[str, bytes]


def by_tarfile(content: bytes, **arguments: bool) -> Read:
    with tarfile.open(fileobj=io.BytesIO(content), **arguments) as archive:  # type: ignore[call-overload]
        return {
            member.name: body.read() if (body := archive.extractfile(member)) else b""
            for member in archive.getmembers()
        }


def by_headers(content: bytes) -> Read:
    """Header by header, with no idea of extensions: what a reader of 1988 sees, and what stands in plain sight."""
    found, at = {}, 0
    while any(block := content[at : at + 512]):
        size = int(block[124:135], 8)
        if block[156:157] in b"0\0":
            found[block[:100].rstrip(b"\0").decode()] = content[at + 512 : at + 512 + size]
        at += 512 + -(-size // 512) * 512
    return found


def block(
    name: str, size: int = 0, kind: bytes = b"0", magic: bytes = b"ustar\x0000", **fields: tuple[int, bytes]
) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    header = bytearray(member.tobuf(tarfile.USTAR_FORMAT))
    header[257:265] = magic
    for at, value in fields.values():
        header[at : at + len(value)] = value
    return summed(header)


def summed(header: bytearray) -> bytes:
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * 32)
    return bytes(header)


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def member(name: str, content: bytes, **arguments: object) -> bytes:
    return block(name, len(content), **arguments) + padded(content)  # type: ignore[arg-type]


def pax(kind: bytes = b"x", **said: str) -> bytes:
    records = b""
    for key, value in said.items():
        rest = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length += 1
        records += str(length).encode() + rest
    return member("pax", records, kind=kind)


def members_after_the_end() -> tuple[bytes, Read, Read]:
    content = member(NAME, CONFIG) + END + member(NAME, OTHER) + END
    return content, by_tarfile(content), by_tarfile(content, ignore_zeros=True)


def members_after_one_block_of_zeros() -> tuple[bytes, Read, Read]:
    content = member(NAME, CONFIG) + bytes(512) + member("adapter_model.safetensors", b"hidden") + END
    return content, by_tarfile(content), by_tarfile(content, ignore_zeros=True)


def one_name_for_all() -> tuple[bytes, Read, Read]:
    content = pax(b"g", path="adapter_model.safetensors") + member(NAME, CONFIG) + END
    return content, by_headers(content), by_tarfile(content)


def two_names_by_pax() -> tuple[bytes, Read, Read]:
    content = pax(path=NAME) + member("notes.txt", CONFIG) + END
    return content, by_headers(content), by_tarfile(content)


def two_names_by_gnu() -> tuple[bytes, Read, Read]:
    gnu = b"ustar  \0"
    content = member("././@LongLink", NAME.encode() + b"\0", kind=b"L", magic=gnu) + member(
        "notes.txt", CONFIG, magic=gnu
    )
    return content + END, by_headers(content + END), by_tarfile(content + END)


def two_names_and_one_is_long() -> tuple[bytes, Read, Read]:
    content = pax(path="folder/" * 2 + "n" * 100) + member(NAME, CONFIG) + END
    return content, by_headers(content), by_tarfile(content)


def another_name_without_its_letters() -> tuple[bytes, Read, Read]:
    content = member(NAME, CONFIG) + pax(path="adapter_configé.json") + member(NAME, OTHER) + END
    return content, by_headers(content), by_tarfile(content)


def another_name_cut_to_the_configuration_s() -> tuple[bytes, Read, Read]:
    folder = "d" * 58
    cut = pax(path=f"{folder}/{NAME}.{'k' * 40}") + member(f"{folder}/{NAME}", OTHER)
    content = member(f"{folder}/{NAME}", CONFIG) + cut + END
    return content, by_headers(content), by_tarfile(content)


def another_name_cut_to_that_of_a_member() -> tuple[bytes, Read, Read]:
    folder = "d" * 58
    cut = pax(path=f"{folder}/README.md.{'k' * 50}") + member(f"{folder}/README.md", b"other")
    content = member(f"{folder}/{NAME}", CONFIG) + cut + member(f"{folder}/README.md", b"card") + END
    return content, by_headers(content), by_tarfile(content)


def two_sizes() -> tuple[bytes, Read, Read]:
    """Whoever goes by the header finds one more member inside the content."""
    inner = padded(CONFIG) + member("adapter_model.safetensors", b"hidden")
    content = pax(size=str(len(inner))) + block(NAME, len(CONFIG)) + inner + END
    return content, by_headers(content), by_tarfile(content)


def a_sparse_name() -> tuple[bytes, Read, Read]:
    said = {
        "GNU__sparse__name": NAME,
        "GNU__sparse__realsize": str(len(CONFIG)),
        "GNU__sparse__map": f"0,{len(CONFIG)}",
    }
    content = pax(**said) + member("notes.txt", CONFIG) + END
    return content, by_headers(content), by_tarfile(content)


def a_folder_with_content() -> tuple[bytes, Read, Read]:
    """tarfile takes the content of a folder for headers; others skip it."""
    inner = member(NAME, OTHER)
    content = block("folder", len(inner), kind=b"5") + inner + member("notes.txt", CONFIG) + END
    return content, by_headers(content), by_tarfile(content)


def a_prefix_where_gnu_keeps_times() -> tuple[bytes, Read, Read]:
    """GNU's incremental archives have times there; tarfile joins them to the name."""
    content = member(NAME, CONFIG, magic=b"ustar  \0", prefix=(345, b"00000000001\0")) + END
    return content, by_headers(content), by_tarfile(content)


def a_kind_that_is_not_known() -> tuple[bytes, Read, Read]:
    content = member(NAME, CONFIG) + member("adapter_model.safetensors", b"x", kind=b"Q") + END
    return content, by_headers(content), by_tarfile(content)


def a_number_with_an_underscore() -> tuple[bytes, Read, Read]:
    """Python's own spelling of numbers: others stop at the underscore, or refuse."""
    content = block(NAME, 0, spelt=(124, b"0000000002_5\0")) + padded(CONFIG) + END
    plain = block(NAME, 0, spelt=(124, b"000000000025\0")) + padded(CONFIG) + END
    strict = {} if b"_" in content[124:136] else by_tarfile(plain)
    return content, strict, by_tarfile(content)


def a_checksum_of_signed_bytes() -> tuple[bytes, Read, Read]:
    """Some readers take either sum, some only that of unsigned bytes."""
    header = bytearray(block("n\xfcmber.txt", len(CONFIG)))
    signed = sum(b - 256 * (b > 127) for n, b in enumerate(header) if not 148 <= n < 156) + 8 * 32
    header[148:156] = b"%06o\0 " % signed
    content = bytes(header) + padded(CONFIG) + END
    return content, {}, by_tarfile(content)


def a_device_that_is_no_number() -> tuple[bytes, Read, Read]:
    """tarfile takes a header with a broken number for the archive's end, though nothing needs the number."""
    content = member(NAME, CONFIG) + member("LICENSE", b"terms", device=(329, b"x")) + END
    return content, by_tarfile(content), by_headers(content)


DIFFER: list[Callable[[], tuple[bytes, Read, Read]]] = [
    members_after_the_end, members_after_one_block_of_zeros, one_name_for_all, two_names_by_pax, two_names_by_gnu,
    two_names_and_one_is_long, two_sizes, another_name_without_its_letters,
    another_name_cut_to_the_configuration_s, another_name_cut_to_that_of_a_member, a_sparse_name, a_folder_with_content, a_prefix_where_gnu_keeps_times,
    a_kind_that_is_not_known, a_device_that_is_no_number, a_number_with_an_underscore, a_checksum_of_signed_bytes,
]  # fmt: skip


def refused(tmp_path: Path, content: bytes) -> IntakeError:
    source = tmp_path / "a.tar"
    source.write_bytes(content)
    with pytest.raises(IntakeError) as refusal:
        admit(source)
    assert refusal.value.where
    assert refusal.value.next_step
    return refusal.value


@pytest.mark.parametrize("exhibit", DIFFER, ids=lambda exhibit: exhibit.__name__)
def test_what_two_readers_read_as_two_archives_is_refused(exhibit, tmp_path):
    content, one, other = exhibit()
    assert one != other
    refused(tmp_path, content)


def test_control_the_readers_agree_on_an_ordinary_tar(tmp_path):
    content = member(NAME, CONFIG) + pax(mtime="1.5", comment="x") + member("notes.txt", b"x") + END
    assert by_headers(content) == by_tarfile(content) == by_tarfile(content, ignore_zeros=True)
    (tmp_path / "a.tar").write_bytes(content)
    assert dict(admit(tmp_path / "a.tar").files) == by_tarfile(content)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_two_compressed_streams(pack, tmp_path):
    """Most readers go on with the second stream, some end with the first; so the second may add, or replace."""
    first, second = member(NAME, CONFIG), member("adapter_model.safetensors", b"hidden") + END
    content = pack(first) + pack(second)
    both = {gzip.compress: gzip.decompress, bz2.compress: bz2.decompress, lzma.compress: lzma.decompress}[pack](content)
    assert by_tarfile(both) == {NAME: CONFIG, "adapter_model.safetensors": b"hidden"}
    if pack is gzip.compress:
        assert by_tarfile(zlib.decompressobj(31).decompress(content)) == {NAME: CONFIG}
    assert "stream, which some readers skip" in refused(tmp_path, content).message
    assert "stream, which some readers skip" in refused(tmp_path, pack(first + second) + b"behind").message
    (tmp_path / "a.tar").write_bytes(pack(first + second))
    assert len(admit(tmp_path / "a.tar").contents) == 2


def test_a_gzip_stream_that_is_an_archive_already(tmp_path):
    """The first stream ends like an archive; whoever reads on meets another one."""
    content = gzip.compress(member(NAME, CONFIG) + END) + gzip.compress(member(NAME, OTHER) + END)
    assert by_tarfile(gzip.decompress(content)) == {NAME: CONFIG}
    assert by_tarfile(gzip.decompress(content), ignore_zeros=True) == {NAME: OTHER}
    refused(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (pax(path=NAME) + pax(path="b") + member("a", CONFIG), "two headers"),
        (pax(path=NAME) + block("L", 4, kind=b"L") + padded(b"abc\0") + member("a", b""), "two headers"),
        (pax(path=NAME), "describes no member"),
        (pax(hdrcharset="BINARY") + member(NAME, CONFIG), "hdrcharset"),
        (pax(SCHILY__realsize="1") + member(NAME, CONFIG), "SCHILY.realsize"),
        (pax(GNU__sparse__major="1") + member(NAME, CONFIG), "GNU.sparse.major"),
        (pax(b"g", size="1") + member(NAME, CONFIG), "all members"),
        (pax(b"g", linkpath="a") + member(NAME, CONFIG), "linkpath"),
        (pax(path="") + member(NAME, CONFIG), "two names"),
        (pax(size="x") + member(NAME, CONFIG), "plain number"),
        (member("pax", b"12 path=aaaa\n", kind=b"x") + member(NAME, CONFIG), "follow each other"),
        (member("pax", b"9 path=a\n9 path=b\n", kind=b"x") + member(NAME, CONFIG), "twice"),
        (member("pax", b"0009 path=a\n", kind=b"x") + member(NAME, CONFIG), "follow each other"),
        (member(NAME, CONFIG, link=(157, b"other")), "link"),
        (member(NAME, CONFIG, behind=(60, b"\0x")), "goes on behind"),
        (member(NAME, CONFIG, magic=b"ustar\x0001"), "unknown dialect"),
        (member(NAME, CONFIG, rest=(500, b"tar\0")), "where its dialect of tar has none"),
        (member(NAME, CONFIG, spelt=(124, b"+0000000025\0")), "octal"),
        (member(NAME, CONFIG, spelt=(124, b"\x80" + (21).to_bytes(11, "big"))), "for larger numbers"),
        (member(NAME, CONFIG, owner=(108, b"9999999\0")), "octal"),
        (member(NAME, CONFIG)[:-1] + b"x", "between it and the next"),
        (member("V", b"", kind=b"V"), "special"),
        (member("././@LongLink", b"a\0b\0", kind=b"L", magic=b"ustar  \0"), "goes on behind"),
    ],
)  # fmt: skip
def test_headers_with_a_second_meaning(content, why, tmp_path):
    assert why in refused(tmp_path, content + END).message


def test_a_name_that_is_not_utf_8(tmp_path):
    header = bytearray(block("name", len(CONFIG)))
    header[:4] = b"n\xfcme"
    assert "not UTF-8" in refused(tmp_path, summed(header) + padded(CONFIG) + END).message


def test_a_tar_that_is_cut_off_anywhere(tmp_path):
    content = pax(mtime="1") + member(NAME, CONFIG) + END
    for length in range(520, len(content), 97):
        refused(tmp_path, content[:length])
