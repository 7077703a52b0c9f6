"""The walk of `discover`: bounded, never through links, and never more than the beginning of a file."""

import os
import shutil
from pathlib import Path

import pytest

from peft_assay.core.artifact import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.content import END_BYTES
from peft_assay.intake.glimpse import CONFIG_BYTES
from peft_assay.intake.survey import Sighted, SurveyLimits, Tally, survey

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40


def adapter(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / CONFIG_FILE).write_text('{"peft_type": "LORA"}')
    (folder / WEIGHTS_FILE).write_bytes(weights)
    return folder


def cache(root: Path, name: str = "models--org--name", commit: str = COMMIT, reference: str = "main") -> Path:
    """A repository as huggingface_hub lays it out; gives its snapshot."""
    repository = root / name
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir(exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / reference).write_text(commit)
    for file, content in ((CONFIG_FILE, b'{"peft_type": "LORA"}'), (WEIGHTS_FILE, b"weights")):
        blob = ("a" if file == CONFIG_FILE else "b") * 40
        (repository / "blobs" / blob).write_bytes(content)
        (snapshot / file).symlink_to(f"../../blobs/{blob}")
    return snapshot


def look(place: Path, **limits: int) -> tuple[list[Sighted], Tally]:
    tally = Tally()
    return list(survey(place, SurveyLimits(**limits), tally, lambda: None)), tally


def names(place: Path, **limits: int) -> list[str]:
    return [sighted.path.relative_to(place).as_posix() for sighted in look(place, **limits)[0]]


def test_adapters_and_archives_are_found_at_any_depth_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b", "a/deep/er", "c/checkpoint-10"):
        adapter(tmp_path / name)
    (tmp_path / "z.tar.gz").write_bytes(b"x" * 10)
    (tmp_path / "notes.txt").write_text("x")
    assert names(tmp_path) == ["z.tar.gz", "a/deep/er", "b", "c/checkpoint-10"]
    found, tally = look(tmp_path)
    assert found[0].archive
    assert (found[0].size, found[0].contents) == (10, {})
    assert found[2].size == len(b'{"peft_type": "LORA"}weights')
    assert tally.folders == 7
    assert tally.stopped is None


@pytest.mark.parametrize("mark", [WEIGHTS_FILE, "adapter_model.bin", "adapters.safetensors"])
def test_a_folder_without_configuration_is_found_by_its_weights(tmp_path: Path, mark: str) -> None:
    (tmp_path / mark).write_bytes(b"x")
    assert names(tmp_path) == ["."]


def test_links_are_told_and_never_followed(tmp_path: Path) -> None:
    outside = adapter(tmp_path / "outside")
    place = tmp_path / "place"
    adapter(place / "own")
    (place / "own" / "linked.bin").symlink_to(outside / WEIGHTS_FILE)
    (place / "folder-link").symlink_to(outside)
    (place / "loop").symlink_to(place)
    found, _ = look(place)
    assert [sighted.path.name for sighted in found] == ["own"]
    assert found[0].links == ("linked.bin",)
    assert "linked.bin" not in found[0].contents


def test_no_folder_is_told_twice(tmp_path: Path) -> None:
    adapter(tmp_path / "a" / "x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    tally = Tally()
    found = [
        sighted.path
        for place in (tmp_path / "a", tmp_path, tmp_path / "link", tmp_path / "a")
        for sighted in survey(place, SurveyLimits(), tally, lambda: None)
    ]
    assert found == [tmp_path / "a" / "x"]


def test_a_place_that_is_itself_a_link_was_named_and_is_taken(tmp_path: Path) -> None:
    adapter(tmp_path / "real" / "x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert names(tmp_path / "link") == ["x"]


def test_a_snapshot_of_the_hub_s_cache_has_repository_commit_and_branch(tmp_path: Path) -> None:
    cache(tmp_path / "hub")
    cache(tmp_path / "hub", commit=OTHER, reference="dev")
    found, _ = look(tmp_path)
    assert [sighted.path.name for sighted in found] == [COMMIT, OTHER]
    for sighted, reference in zip(found, ("main", "dev"), strict=True):
        assert sighted.cached is not None
        assert (sighted.cached.repository, sighted.cached.references) == ("org/name", (reference,))
        assert sighted.contents[WEIGHTS_FILE].body == b"weights"
        assert sighted.links == ()


@pytest.mark.parametrize("part", ["", "models--org--name", f"models--org--name/snapshots/{COMMIT}"])
def test_any_part_of_the_cache_can_be_named(tmp_path: Path, part: str) -> None:
    cache(tmp_path)
    found, _ = look(tmp_path / part)
    assert [sighted.cached and sighted.cached.repository for sighted in found] == ["org/name"]
    assert set(found[0].contents) == {CONFIG_FILE, WEIGHTS_FILE}


@pytest.mark.parametrize(
    "target", ["/etc/passwd", "../../../secret", "../../blobs/../../secret", "../../blobs/" + "g" * 40]
)
def test_a_snapshot_s_link_to_anything_but_a_blob_is_not_followed(tmp_path: Path, target: str) -> None:
    (tmp_path / "secret").write_text("secret")
    snapshot = cache(tmp_path)
    (snapshot / CONFIG_FILE).unlink()
    (snapshot / CONFIG_FILE).symlink_to(target)
    found, _ = look(tmp_path)
    assert found == [] or CONFIG_FILE in (*found[0].links, *found[0].unread)
    assert all(b"secret" not in content.head for sighted in found for content in sighted.contents.values())


def test_a_blob_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    cache(tmp_path)
    blob = tmp_path / "models--org--name" / "blobs" / ("a" * 40)
    blob.unlink()
    blob.symlink_to(tmp_path / "secret")
    found, _ = look(tmp_path)
    assert found[0].unread == (CONFIG_FILE,)


def test_folders_of_blobs_and_snapshots_that_are_links_are_not_entered(tmp_path: Path) -> None:
    adapter(tmp_path / "outside" / "x")
    repository = tmp_path / "place" / "models--a--b"
    repository.mkdir(parents=True)
    (repository / "snapshots").symlink_to(tmp_path / "outside")
    found, tally = look(tmp_path / "place")
    assert found == []
    assert len(tally.unread) == 1


def test_no_more_than_the_beginning_of_a_file_is_read(tmp_path: Path) -> None:
    adapter(tmp_path / "a")
    huge = tmp_path / "a" / WEIGHTS_FILE
    with huge.open("wb") as stream:
        stream.truncate(50 << 30)
    (tmp_path / "a" / CARD_FILE).write_bytes(b"x" * (CONFIG_BYTES + 1))
    found, _ = look(tmp_path)
    content = found[0].contents[WEIGHTS_FILE]
    assert (content.size, len(content.head), content.body, content.tail) == (50 << 30, END_BYTES, None, b"")
    assert found[0].contents[CARD_FILE].body is None


def test_a_pipe_in_place_of_a_file_holds_nobody_up(tmp_path: Path) -> None:
    adapter(tmp_path / "a")
    os.mkfifo(tmp_path / "a" / "tokenizer.json")
    os.mkfifo(tmp_path / "b.zip")
    found, _ = look(tmp_path)
    assert [sighted.path.name for sighted in found] == ["a"]
    assert found[0].unread == ("tokenizer.json",)


def test_every_limit_ends_the_walk_and_says_so(tmp_path: Path) -> None:
    for at in range(10):
        adapter(tmp_path / f"{at}")
    for name, limit in (("folders", 4), ("entries", 9), ("told", 3)):
        found, tally = look(tmp_path, **{name: limit})
        assert len(found) < 10
        assert tally.stopped is not None
        assert str(limit) in tally.stopped
    found, tally = look(tmp_path, depth=0)
    assert (found, tally.shallow, tally.stopped) == ([], 10, None)
    found, _ = look(tmp_path, files=1)
    assert all(len(sighted.contents) == 1 and len(sighted.unread) == 1 for sighted in found)


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_a_folder_that_may_not_be_opened_is_told(tmp_path: Path) -> None:
    adapter(tmp_path / "closed")
    (tmp_path / "closed").chmod(0)
    found, tally = look(tmp_path)
    (tmp_path / "closed").chmod(0o700)
    assert found == []
    assert len(tally.unread) == 1


def test_what_tools_leave_is_not_looked_into(tmp_path: Path) -> None:
    adapter(tmp_path / ".git" / "x")
    adapter(tmp_path / ".cache" / "x")
    assert names(tmp_path) == [".cache/x"]


def test_names_that_are_no_text_are_walked(tmp_path: Path) -> None:
    shutil.copytree(adapter(tmp_path / "a"), tmp_path / os.fsdecode(b"\xff\x1b[31m") / "x")
    assert len(names(tmp_path)) == 2


def test_descriptors_are_closed_when_nobody_reads_on(tmp_path: Path) -> None:
    for at in range(5):
        adapter(tmp_path / f"{at}" / "x")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    walk = survey(tmp_path, SurveyLimits(), Tally(), lambda: None)
    next(walk)
    walk.close()  # type: ignore[attr-defined]
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
