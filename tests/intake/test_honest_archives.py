"""What ordinary tools pack is the folder that they packed. Tools that this machine lacks are skipped by name."""

import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from peft_assay.core.errors import IntakeError
from peft_assay.intake.admit import admit

LONG = "l" * 110
FILES = {
    "adapter_config.json": b'{"peft_type": "LORA"}',
    "adapter_model.safetensors": bytes(range(256)) * 40,
    "README.md": b"card",
    "logs/empty.txt": b"",
    "logs/notizen-für-später.md": b"x",
    f"logs/{LONG}/short.txt": b"a short name in a folder with a long one",
    f"logs/{LONG}/größe-{LONG}.txt": b"long",
}
PLAIN = {path: content for path, content in FILES.items() if len(path) < 100}


def _folder(at: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (at / path).parent.mkdir(parents=True, exist_ok=True)
        (at / path).write_bytes(content)
    return at


def _run(command: str, at: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run(["bash", "-c", command], cwd=at, check=True, capture_output=True, env=environment)


GIT = (
    "git init -q . && git add -A && git -c user.name=a -c user.email=a@example.org commit -qm a && git archive {} HEAD"
)
COMMANDS = [
    ("zip", "zip -r ../a.zip ."),
    ("zip", "zip -r -0 - . > ../a.zip"),
    ("zip", "cd .. && zip -r -9 -z a.zip folder <<< 'a comment'"),
    ("7z", "7z a -tzip ../a.zip ."),
    ("7z", "7z a -tzip -mx0 ../a.zip ../folder"),
    ("7z", "7z a -ttar ../a.tar ."),
    ("7z", "7z a -ttar -mm=pax ../a.tar ."),
    ("bsdtar", "bsdtar --format=zip -cf ../a.zip ."),
    ("bsdtar", "bsdtar --format=zip --options zip:compression=store -cf - -C .. folder | cat > ../a.zip"),
    ("bsdtar", "bsdtar --format=pax -cf ../a.tar ."),
    ("bsdtar", "bsdtar --format=paxr -czf ../a.tar -C .. folder"),
    ("bsdtar", "bsdtar --format=gnutar -cJf ../a.tar ."),
    ("tar", "tar --format=gnu -cf ../a.tar ."),
    ("tar", "tar --format=oldgnu -cjf ../a.tar ."),
    ("tar", "tar --format=pax --sort=name -czf ../a.tar -C .. folder"),
    ("tar", "tar --format=posix -cJf ../a.tar *"),
    ("tar", "tar --format=pax --numeric-owner --owner=4000000 --group=4000000 --mtime=@-5 -cf ../a.tar ."),
    ("tar", "tar --format=gnu --blocking-factor=1 --owner=4000000 -cf ../a.tar ."),
    ("git", GIT.format("--format=zip -o ../a.zip")),
    ("git", GIT.format("--format=tar -o ../a.tar")),
    ("git", GIT.format("--format=tar.gz --prefix=adapter/ -o ../a.tar")),
]
NO_LONG_NAMES = [
    ("tar", "tar --format=ustar -cf ../a.tar ."),
    ("tar", "tar --format=v7 -cf ../a.tar ."),
    ("bsdtar", "bsdtar --format=ustar -cf ../a.tar ."),
    ("bsdtar", "bsdtar --format=v7tar -cf ../a.tar -C .. folder"),
]


@pytest.mark.parametrize(("tool", "command"), COMMANDS + NO_LONG_NAMES, ids=lambda value: value[:60])
def test_what_a_tool_packs_is_the_folder(tool, command, tmp_path):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    files = PLAIN if (tool, command) in NO_LONG_NAMES else FILES
    folder = _folder(tmp_path / "folder", files)
    expected = admit(folder).artifact
    _run(command, folder)
    source = next(tmp_path.glob("a.*"))
    assert admit(source).artifact == expected


def test_what_java_packs(tmp_path):
    if shutil.which("jar") is None:
        pytest.skip("jar is not installed")
    folder = _folder(tmp_path / "folder", FILES)
    for command in ("jar cMf ../a.zip .", "jar cM0f ../a.zip ."):
        _run(command, folder)
        assert admit(tmp_path / "a.zip").artifact == admit(folder).artifact


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar", "bztar", "xztar"])
def test_what_python_packs(kind, tmp_path):
    folder = _folder(tmp_path / "folder", FILES)
    assert admit(Path(shutil.make_archive(str(tmp_path / "a"), kind, folder))).artifact == admit(folder).artifact


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_tarfile_packs(form, tmp_path):
    folder = _folder(tmp_path / "folder", FILES)
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
        archive.add(folder, arcname="adapter")
    assert admit(tmp_path / "a.tar").artifact == admit(folder).artifact


def test_zips_with_large_fields_though_they_are_small(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in FILES.items():
            with archive.open(path, "w", force_zip64=True) as member:
                member.write(content)
    assert admit(tmp_path / "a.zip").artifact == admit(_folder(tmp_path / "folder", FILES)).artifact


def test_what_the_finder_of_macos_packs(tmp_path):
    """Sizes behind each member, its own resource files beside them in a folder that is no part of the adapter."""
    with (tmp_path / "a.zip").open("wb") as out, zipfile.ZipFile(_Pipe(out), "w", zipfile.ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
        for path, content in FILES.items():
            member = zipfile.ZipInfo(f"adapter/{path}")
            member.create_system, member.external_attr = 3, 0o100644 << 16
            archive.writestr(member, content)
            archive.writestr(f"__MACOSX/adapter/._{path.replace('/', '_')}", b"\0\5\x16\7")
    assert admit(tmp_path / "a.zip").artifact == admit(_folder(tmp_path / "folder", FILES)).artifact


class _Pipe:
    """A file that cannot be sought in."""

    def __init__(self, out) -> None:
        self.write, self.flush = out.write, out.flush


def _zip(at: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(at, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return at


LEFT = {
    "__MACOSX/x": b"",
    ".DS_Store": b"",
    "._adapter_config.json": b"\0\5\x16\7",
    "a/._b": b"",
    "Thumbs.db": b"",
    "a/desktop.ini": b"",
}


@pytest.mark.parametrize("folders", ["", "adapter/", "home/me/runs/adapter/"])
def test_folders_around_the_adapter_and_what_systems_leave_are_no_part_of_it(folders, tmp_path):
    expected = admit(_folder(tmp_path / "folder", FILES)).artifact
    packed = {f"{folders}{path}": content for path, content in {**FILES, **LEFT}.items()}
    assert admit(_zip(tmp_path / "a.zip", packed)).artifact == expected
    assert admit(_folder(tmp_path / "left", {**FILES, **LEFT})).artifact == expected


SEVERAL = {f"run/checkpoint-{n}/{path}": content + str(n).encode() for n in (5, 10) for path, content in PLAIN.items()}


@pytest.mark.parametrize("inner", ["run/checkpoint-5", "checkpoint-5", "checkpoint-5/"])
def test_one_folder_of_several_is_named_after_a_colon(inner, tmp_path):
    folder = _folder(tmp_path / "folder", SEVERAL) / "run"
    expected = admit(folder / "checkpoint-5").artifact
    archive = _zip(tmp_path / "a.zip", SEVERAL)
    assert admit(Path(f"{archive}:{inner}")).artifact == expected
    assert admit(Path(f"{folder}:checkpoint-5")).artifact == expected


def test_several_adapters_are_listed_and_the_next_step_names_one(tmp_path):
    archive, folder = _zip(tmp_path / "a.zip", SEVERAL), _folder(tmp_path / "folder", SEVERAL)
    for source in (archive, folder, folder / "run"):
        with pytest.raises(IntakeError, match="2 files claim to be the configuration") as refused:
            admit(source)
        _, _, named = (refused.value.next_step or "").partition(": ")
        assert admit(Path(named)).artifact == admit(folder / "run" / "checkpoint-5").artifact


@pytest.mark.parametrize("inner", ["checkpoint-7", "run", "../folder", "/etc"])
def test_a_folder_that_is_not_in_it_is_refused_with_those_that_are(inner, tmp_path):
    archive = _zip(tmp_path / "a.zip", {**SEVERAL, "notes.txt": b""})
    with pytest.raises(IntakeError) as refused:
        admit(Path(f"{archive}:{inner}"))
    if inner == "checkpoint-7":
        assert "'run/checkpoint-10', 'run/checkpoint-5'" in str(refused.value)
        assert admit(Path((refused.value.next_step or "").removeprefix("name "))).artifact


def test_a_colon_in_a_name_that_exists_is_part_of_it(tmp_path):
    folder = _folder(tmp_path / "a:b", PLAIN)
    assert admit(folder).artifact == admit(_folder(tmp_path / "plain", PLAIN)).artifact
    with pytest.raises(IntakeError, match="cannot be read"):
        admit(tmp_path / "absent:b")


@pytest.mark.parametrize("length", [19280, 35615, 0x685A42])
def test_safetensors_that_begin_like_an_archive_are_named_for_what_they_are(length, tmp_path):
    """19280 begins with PK, 35615 like gzip, the last like bzip2."""
    (tmp_path / "adapter_model.safetensors").write_bytes(length.to_bytes(8, "little") + b"{}".ljust(length))
    with pytest.raises(IntakeError, match="one safetensors file"):
        admit(tmp_path / "adapter_model.safetensors")
