"""Attacks on intake, each with its positive control: what happens to a reader without our checks."""

import gzip
import io
import os
import socket
import stat
import tarfile
import threading
import warnings
import zipfile
from pathlib import Path

import pytest

from peft_assay.core.errors import IntakeError
from peft_assay.intake import directory
from peft_assay.intake.admit import admit
from peft_assay.intake.interface import Limits

CONFIG = b'{"peft_type": "LORA"}'


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_bytes(CONFIG)
    return folder


def _refused(source: Path, why: str, limits: Limits | None = None) -> IntakeError:
    with pytest.raises(IntakeError, match=why) as refusal:
        admit(source, limits or Limits())
    assert refusal.value.where
    assert refusal.value.next_step
    return refusal.value


def _tar(at: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(at, mode) as archive:
        for member, content in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))
    return at


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def test_a_link_out_of_the_folder(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"key")
    folder = _folder(tmp_path)
    (folder / "adapter_model.safetensors").symlink_to("../secret")
    assert (folder / "adapter_model.safetensors").read_bytes() == b"key"  # a plain reader follows
    refusal = _refused(folder, "symbolic link")
    assert refusal.where == f"{folder}: adapter_model.safetensors"


def test_a_link_to_a_folder_and_one_that_points_nowhere(tmp_path):
    for target in (tmp_path, tmp_path / "nowhere"):
        folder = tmp_path / f"case-{target.name}"
        folder.mkdir()
        (folder / "link").symlink_to(target)
        _refused(folder, "symbolic link")


def test_a_fifo_does_not_hang_the_reader(tmp_path):
    folder = _folder(tmp_path)
    os.mkfifo(folder / "adapter_model.safetensors")
    _refused(folder, "not a regular file")


def test_a_fifo_as_the_source_itself(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    _refused(tmp_path / "pipe", "neither a folder nor a file")


def test_a_socket(tmp_path, monkeypatch):
    folder = _folder(tmp_path)
    monkeypatch.chdir(folder)  # socket addresses are short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
        _refused(folder, "not a regular file")


def test_a_name_swapped_for_a_link_between_look_and_open(tmp_path, monkeypatch):
    """The look says regular file, the open meets a link: O_NOFOLLOW refuses what stat cannot."""
    folder = _folder(tmp_path)
    (tmp_path / "secret").write_bytes(b"key")
    (folder / "w").symlink_to("../secret")
    real = os.stat

    def lying(path, **arguments):
        return (
            os.stat_result((stat.S_IFREG | 0o644, *real(folder / "adapter_config.json")[1:]))
            if path == "w"
            else real(path, **arguments)
        )

    monkeypatch.setattr(directory.os, "stat", lying)
    assert stat.S_ISREG(directory.os.stat("w").st_mode)
    _refused(folder, "cannot be read")


def test_a_file_that_grows_while_it_is_read(tmp_path, monkeypatch):
    folder = _folder(tmp_path)
    real = os.readv

    def growing(descriptor, buffers):
        content = real(descriptor, buffers)
        with (folder / "adapter_config.json").open("ab") as other:
            other.write(b" ")
        return content

    monkeypatch.setattr(directory.os, "readv", growing)
    _refused(folder, "changed while it was read")


def test_a_writer_beside_the_reader_never_yields_bytes_that_were_not_hashed(tmp_path):
    """Whatever the race, what is handed on is what the digest is over."""
    from peft_assay.core.digest import sha256

    folder = _folder(tmp_path)
    target = folder / "w"
    target.write_bytes(b"a" * 200_000)
    stop = threading.Event()

    def write():
        while not stop.is_set():
            target.write_bytes(os.urandom(1) * 200_000)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(30):
            try:
                admitted = admit(folder)
            except IntakeError as refusal:
                assert "changed" in refusal.message
                continue
            entry = admitted.artifact.file("w")
            assert entry is not None
            assert entry.sha256 == sha256(admitted.files["w"])
    finally:
        stop.set()
        writer.join(10)


@pytest.mark.parametrize(
    ("member", "why"),
    [
        (_member("link", tarfile.SYMTYPE, "../secret"), "link"),
        (_member("link", tarfile.LNKTYPE, "/etc/passwd"), "link"),
        (_member("pipe", tarfile.FIFOTYPE), "special"),
        (_member("dev", tarfile.CHRTYPE), "special"),
        (_member("../out"), "not safe"),
        (_member("/abs"), "not safe"),
        (_member("a/../../out"), "not safe"),
        (_member("..", tarfile.DIRTYPE), "not safe"),
    ],
)
def test_tar_members_that_leave_or_link(tmp_path, member, why):
    source = _tar(tmp_path / "a.tar", (_member("adapter_config.json"), CONFIG), (member, b"x"))
    _refused(source, why)


@pytest.mark.parametrize("name", ["../out", "/abs", "a\\..\\..\\out", "C:\\out", "adapter_config.json\x00.txt"])
def test_zip_members_that_leave(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("adapter_config.json", CONFIG)
        member = zipfile.ZipInfo("x")
        member.filename = name
        archive.writestr(member, b"x")
    _refused(tmp_path / "a.zip", "not safe|not a sound archive")


def test_a_zip_member_that_is_a_link(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        member = zipfile.ZipInfo("adapter_model.safetensors")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "../secret")
    _refused(tmp_path / "a.zip", "link")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_two_members_that_claim_to_be_the_configuration(tmp_path, kind):
    source = tmp_path / "a"
    second = b'{"peft_type": "LORA", "lora_alpha": 800}'
    if kind == "tar":
        _tar(source, (_member("adapter_config.json"), CONFIG), (_member("adapter_config.json"), second))
    else:
        with zipfile.ZipFile(source, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            archive.writestr("adapter_config.json", CONFIG)
            archive.writestr("adapter_config.json", second)
        with zipfile.ZipFile(source) as archive:  # a plain reader takes the last
            assert archive.read("adapter_config.json") == second
    _refused(source, "ambiguous")


def test_an_archive_whose_tail_is_another_case_of_the_configuration(tmp_path):
    source = _tar(tmp_path / "a", (_member("adapter_config.json"), CONFIG), (_member("ADAPTER_CONFIG.json"), b"{}"))
    _refused(source, "claim")


def test_an_archive_of_two_adapters(tmp_path):
    members = [(_member(f"{name}/adapter_config.json"), CONFIG) for name in "ab"]
    _refused(_tar(tmp_path / "a", *members), "ambiguous")


def test_an_encrypted_member(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("adapter_config.json", CONFIG)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    for marker, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        content[content.find(marker) + offset] |= 1
    (tmp_path / "a.zip").write_bytes(bytes(content))
    _refused(tmp_path / "a.zip", "encrypted")


def test_a_zip_bomb_is_noticed_while_it_expands(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(4):
            archive.writestr(f"zeros{index}", b"\0" * (8 << 20))
    assert (tmp_path / "a.zip").stat().st_size < 64 << 10
    _refused(tmp_path / "a.zip", "times its size")


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_tar_bomb_is_noticed_while_it_expands(tmp_path, mode):
    source = _tar(tmp_path / "a", (_member("zeros"), b"\0" * (24 << 20)), mode=mode)
    _refused(source, "times its size")


def test_a_tar_header_that_asks_for_memory(tmp_path):
    """A pax header is read whole into memory before anybody sees its member."""
    header = _member("././@PaxHeader", tarfile.XHDTYPE)
    header.size = 64 << 20
    with gzip.open(tmp_path / "a.tgz", "wb") as out:
        out.write(header.tobuf())
        out.write(b"\0" * (64 << 20))
    _refused(tmp_path / "a.tgz", "names and attributes of a member take more than")


def test_many_members(tmp_path):
    members = [(_member(f"f{index}"), b"") for index in range(50)]
    _refused(_tar(tmp_path / "a", *members), "more than 20", Limits(files=20))
    folders = [(_member(f"d{index}", tarfile.DIRTYPE), b"") for index in range(50)]
    _refused(_tar(tmp_path / "b", *folders), "more than 40 members", Limits(files=20))


def test_a_name_that_is_not_text(tmp_path):
    folder = _folder(tmp_path)
    (Path(os.fsdecode(os.fsencode(folder) + b"/a\xff"))).write_bytes(b"x")
    _refused(folder, "not safe")


def test_a_name_that_reorders_what_a_reviewer_reads(tmp_path):
    folder = _folder(tmp_path)
    (folder / "a\u202efdp.exe").write_bytes(b"x")
    _refused(folder, "not safe")
