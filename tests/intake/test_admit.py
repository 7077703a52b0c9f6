"""What becomes an artifact: every file once, the hashed bytes handed on, the same bytes the same digest."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peft_assay.core.digest import sha256
from peft_assay.core.errors import IntakeError
from peft_assay.intake.admit import admit
from peft_assay.intake.interface import Limits
from peft_assay.intake.paths import check_path, check_unambiguous

FILES = {"README.md": b"card", "adapter_config.json": b"{}", "adapter_model.safetensors": b"weights", "sub/a.txt": b""}


def write_folder(at: Path, files: dict[str, bytes] = FILES) -> Path:
    for path, content in files.items():
        (at / path).parent.mkdir(parents=True, exist_ok=True)
        (at / path).write_bytes(content)
    return at


def write_tar(at: Path, files: dict[str, bytes] = FILES, mode: str = "w") -> Path:
    with tarfile.open(at, mode) as archive:
        for path, content in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return at


def write_zip(at: Path, files: dict[str, bytes] = FILES) -> Path:
    with zipfile.ZipFile(at, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return at


def test_a_folder_becomes_its_files_and_their_digests(tmp_path):
    admitted = admit(write_folder(tmp_path / "a"))
    assert dict(admitted.files) == FILES
    assert [(f.path, f.size, f.sha256) for f in admitted.artifact.files] == [
        (path, len(content), sha256(content)) for path, content in sorted(FILES.items())
    ]


def test_what_is_handed_on_cannot_be_changed(tmp_path):
    admitted = admit(write_folder(tmp_path / "a"))
    with pytest.raises(TypeError):
        admitted.files["adapter_config.json"] = b"other"  # type: ignore[index]


def test_folder_and_archives_of_the_same_files_are_the_same_artifact(tmp_path):
    folded = {f"top/{path}": content for path, content in FILES.items()}
    sources = [
        write_folder(tmp_path / "a"),
        write_zip(tmp_path / "a.zip"),
        write_zip(tmp_path / "b.zip", folded),
        write_tar(tmp_path / "a.tar"),
        write_tar(tmp_path / "a.tgz", folded, "w:gz"),
        write_tar(tmp_path / "a.tar.bz2", FILES, "w:bz2"),
        write_tar(tmp_path / "a.tar.xz", {f"./{path}": content for path, content in FILES.items()}, "w:xz"),
    ]
    assert {admit(source).artifact.digest for source in sources} == {admit(sources[0]).artifact.digest}


def test_a_tar_of_the_folder_as_the_tar_command_makes_it(tmp_path):
    folder = write_folder(tmp_path / "a")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(folder, arcname=".")
    assert admit(tmp_path / "a.tar").artifact == admit(folder).artifact


def test_tools_leavings_are_not_part_of_it(tmp_path):
    folder = write_folder(tmp_path / "a")
    before = admit(folder).artifact
    write_folder(folder, {".git/config": b"x", "sub/__pycache__/a.pyc": b"x", ".cache/huggingface/x.lock": b""})
    assert admit(folder).artifact == before
    write_folder(folder, {".cache/other": b"x"})
    assert admit(folder).artifact != before


def test_any_change_is_another_digest(tmp_path):
    folder = write_folder(tmp_path / "a")
    before = admit(folder).artifact.digest
    (folder / "sub/a.txt").write_bytes(b"\0")
    assert admit(folder).artifact.digest != before


def test_hard_links_are_files(tmp_path):
    folder = write_folder(tmp_path / "a")
    (folder / "copy.txt").hardlink_to(folder / "README.md")
    assert admit(folder).files["copy.txt"] == b"card"


def test_a_link_to_the_folder_itself_was_named_by_the_user(tmp_path):
    folder = write_folder(tmp_path / "a")
    (tmp_path / "current").symlink_to(folder)
    assert admit(tmp_path / "current").artifact == admit(folder).artifact


def test_large_files_are_read_in_pieces(tmp_path):
    content = bytes(range(256)) * (3 << 13)
    admitted = admit(write_folder(tmp_path / "a", {"adapter_config.json": b"{}", "w": content}))
    entry = admitted.artifact.file("w")
    assert entry is not None
    assert entry.sha256 == "sha256:" + hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (Limits(files=3), "more than 3 files"),
        (Limits(total_bytes=10), "10 bytes in all"),
        (Limits(file_bytes=5), "more than 5"),
        (Limits(path_characters=10), "longer than 10"),
        (Limits(depth=1), "deep"),
    ],
)
def test_over_a_limit_is_refused_and_not_cut_short(tmp_path, limits, what):
    with pytest.raises(IntakeError, match=what):
        admit(write_folder(tmp_path / "a"), limits)


@pytest.mark.parametrize("limits", [Limits(files=3), Limits(total_bytes=10), Limits(file_bytes=5), Limits(depth=1)])
@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_so_is_an_archive(tmp_path, write, limits):
    with pytest.raises(IntakeError) as refusal:
        admit(write(tmp_path / "a"), limits)
    assert refusal.value.where
    assert refusal.value.next_step


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04broken", b"\x1f\x8bbroken", b"BZhbroken", b"\0" * 2048])
def test_a_file_that_is_no_sound_archive(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(IntakeError) as refusal:
        admit(tmp_path / "a")
    assert refusal.value.next_step


@pytest.mark.parametrize("write", [write_zip, write_tar])
def test_a_truncated_archive(tmp_path, write):
    whole = write(tmp_path / "a").read_bytes()
    for length in (len(whole) // 3, len(whole) - len(whole) // 4 if write is write_zip else 2 * 1024, 300):
        (tmp_path / "b").write_bytes(whole[:length])
        with pytest.raises(IntakeError):
            admit(tmp_path / "b")


def test_absent_and_empty_sources(tmp_path):
    (tmp_path / "empty").mkdir()
    write_zip(tmp_path / "empty.zip", {})
    for name in ("absent", "empty", "empty.zip"):
        with pytest.raises(IntakeError) as refusal:
            admit(tmp_path / name)
        assert refusal.value.next_step


@pytest.mark.parametrize(
    "path",
    [
        "/a",
        "../a",
        "a/../b",
        "a//b",
        "./a",
        "",
        "a\\b",
        "C:a",
        "a\nb",
        "a\x00b",
        "a\u202eb",
        "a\udcffb",
        "a ",
        "a.",
        " a",
    ],
)
def test_paths_that_some_tool_reads_otherwise(path):
    with pytest.raises(IntakeError):
        check_path(path, Limits())


@given(st.lists(st.from_regex(r"[a-z0-9_\-]{1,8}\.[a-z]{1,4}", fullmatch=True), min_size=1, max_size=5))
def test_plain_relative_paths_are_fine(components):
    path = "/".join(components)
    assert check_path(path, Limits()) == path


@pytest.mark.parametrize(
    "paths",
    [
        ["A.txt", "a.txt"],
        ["caf\u00e9", "cafe\u0301"],
        ["stra\u00dfe", "strasse"],
        ["a", "a/b"],
        ["adapter_config.json", "Adapter_Config.json"],
        ["x/adapter_config.json", "y/adapter_config.json"],
    ],
)
def test_two_names_for_one_file_are_ambiguous(paths):
    with pytest.raises(IntakeError, match=r"claim|at once"):
        check_unambiguous(paths)


def test_experts_below_the_adapter_s_own_configuration_are_not_ambiguous():
    check_unambiguous(["adapter_config.json", "0/adapter_config.json", "1/adapter_config.json"])


@given(st.sets(st.text(max_size=6), max_size=6))
def test_unambiguous_means_unique_however_names_are_folded(paths):
    try:
        check_unambiguous(sorted(paths))
    except IntakeError:
        return
    assert len({path.casefold() for path in paths}) == len(paths)
