"""High-water marks: nothing that this host has seen goes back unnoticed."""

import dataclasses
import errno
import fcntl
import json
import multiprocessing
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peft_assay.core.errors import StorageError, TrustError
from peft_assay.trust import state_files
from peft_assay.trust.highwater import HighWater, Mark
from trust.world import HOUR, NOW, named

WORKSPACE = "0123456789abcdef" * 2


def root_at(count: int):
    return named(f"root {count}")


def mark(sequence: int = 1, size: int = 3, seen_at=NOW) -> Mark:
    return Mark(sequence, size, root_at(size), seen_at)


def raise_to(water: HighWater, seen: Mark):
    return water.check_and_raise(WORKSPACE, seen, root_at)


def test_first_use_is_trusted_and_said(tmp_path: Path) -> None:
    water = HighWater(tmp_path / "state")
    assert water.read(WORKSPACE) is None
    first = raise_to(water, mark())
    assert first.first_use
    assert water.read(WORKSPACE) == first.mark == mark()
    assert not raise_to(water, mark()).first_use
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert water.read("f" * 32) is None


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (mark(sequence=1, size=6, seen_at=NOW), "revocation list 1 was put back; 2"),
        (mark(sequence=2, size=4), "ledger has 4 entries; 5"),
        (mark(sequence=2, size=6, seen_at=NOW - timedelta(minutes=6)), "clock was put back"),
    ],
)
def test_going_back_is_refused_and_leaves_the_mark(tmp_path: Path, seen: Mark, says: str) -> None:
    water = HighWater(tmp_path)
    top = mark(sequence=2, size=5)
    raise_to(water, top)
    with pytest.raises(TrustError, match=says):
        raise_to(water, seen)
    assert water.read(WORKSPACE) == top
    raise_to(water, mark(sequence=3, size=9, seen_at=NOW + HOUR))


def test_what_else_a_mark_remembers(tmp_path: Path) -> None:
    """The list itself, so that another one of that number is noticed, and that checkpoints were signed."""
    water = HighWater(tmp_path)
    seen = dataclasses.replace(mark(), list=named("list"), attested=True)
    raise_to(water, seen)
    assert water.read(WORKSPACE) == seen
    for changes, says in (
        ({"list": named("other")}, "two revocation lists"),
        ({"attested": False}, "checkpoints are gone"),
    ):
        with pytest.raises(TrustError, match=says):
            raise_to(water, dataclasses.replace(seen, **changes))


def test_a_mark_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    water = HighWater(tmp_path)
    raise_to(water, mark())
    path = tmp_path / f"{WORKSPACE}.json"
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({name: value for name, value in document.items() if name not in ("list", "attested")}))
    assert water.read(WORKSPACE) == mark()
    raise_to(water, dataclasses.replace(mark(), list=named("list"), attested=True))


def test_marks_that_cannot_be_written_are_compared_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root writes anywhere: so it is told no."""
    water, place = HighWater(tmp_path / "state"), tmp_path / "workspace"
    water.look_and_raise(WORKSPACE, lambda: mark(size=5), root_at, place=place)
    opened = os.open

    def refuses(path, flags, *rest, **named_):
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, flags, *rest, **named_)

    monkeypatch.setattr(state_files.os, "open", refuses)
    water.look_and_raise(WORKSPACE, lambda: mark(size=7), root_at, place=place, reading=True)
    water.look_and_raise("f" * 32, lambda: mark(size=7), root_at, place=tmp_path / "other", reading=True)
    assert water.read(WORKSPACE) == mark(size=5)
    with pytest.raises(TrustError, match="ledger has 4"):
        water.look_and_raise(WORKSPACE, lambda: mark(size=4), root_at, place=place, reading=True)
    with pytest.raises(StorageError, match="cannot keep"):
        water.look_and_raise(WORKSPACE, lambda: mark(size=7), root_at, place=place)


def test_a_rewritten_past_is_refused(tmp_path: Path) -> None:
    water = HighWater(tmp_path)
    raise_to(water, mark())
    for size in (3, 9):
        with pytest.raises(TrustError, match="the ledger's past"):
            water.check_and_raise(WORKSPACE, mark(size=size), lambda _: named("rewritten"))


def test_a_clock_a_little_behind_is_tolerated_and_does_not_lower_the_mark(tmp_path: Path) -> None:
    water = HighWater(tmp_path)
    raise_to(water, mark())
    behind = raise_to(water, mark(seen_at=NOW - timedelta(minutes=5)))
    assert behind.mark.seen_at == NOW


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=8))
def test_the_mark_never_falls(tmp_path_factory, steps) -> None:
    water = HighWater(tmp_path_factory.mktemp("state"))
    for sequence, size, hours in steps:
        before = water.read(WORKSPACE)
        try:
            raise_to(water, mark(sequence, size, NOW + hours * HOUR))
        except TrustError:
            assert water.read(WORKSPACE) == before
        after = water.read(WORKSPACE)
        if before is not None:
            assert after.sequence >= before.sequence
            assert after.ledger_size >= before.ledger_size
            assert after.seen_at >= before.seen_at


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b'{"sequence":-1}', b'{"sequence":1,"sequence":2}'],
)
def test_a_damaged_mark_is_not_a_missing_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / f"{WORKSPACE}.json").write_bytes(content)
    with pytest.raises(TrustError, match="damaged"):
        raise_to(HighWater(tmp_path), mark())


@pytest.mark.parametrize("workspace", ["", "../etc", "0" * 31, "0" * 33, "G" * 32])
def test_only_workspace_ids_name_marks(tmp_path: Path, workspace: str) -> None:
    with pytest.raises(TrustError, match="not a workspace id"):
        HighWater(tmp_path).read(workspace)


def test_a_state_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot keep"):
        raise_to(HighWater(tmp_path / "file"), mark())
    (tmp_path / f"{WORKSPACE}.json").mkdir()
    with pytest.raises(StorageError, match="cannot be read"):
        HighWater(tmp_path).read(WORKSPACE)


def test_an_old_copy_under_a_new_id_is_not_a_first_use(tmp_path: Path) -> None:
    water, place = HighWater(tmp_path / "state"), tmp_path / "project" / ".peft-assay"
    for _ in range(2):
        water.look_and_raise(WORKSPACE, mark, root_at, place=place)
    with pytest.raises(TrustError, match="another workspace stood here") as error:
        water.look_and_raise("f" * 32, mark, root_at, place=tmp_path / "project" / "x" / ".." / ".peft-assay")
    assert water.read("f" * 32) is None
    water.look_and_raise("f" * 32, mark, root_at, place=tmp_path / "elsewhere")
    Path((error.value.next_step or "").rpartition(" ")[2]).unlink()
    assert water.look_and_raise("e" * 32, mark, root_at, place=place).first_use


def test_what_is_seen_is_looked_at_under_the_lock(tmp_path: Path) -> None:
    """A process that looked before another one wrote would report that one's entry as a rollback."""
    water = HighWater(tmp_path)
    ledger = [3]

    def look() -> Mark:
        with (tmp_path / f"{WORKSPACE}.lock").open("rb") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return mark(size=ledger[0])

    water.look_and_raise(WORKSPACE, look, root_at)
    ledger[0] = 4
    assert water.look_and_raise(WORKSPACE, look, root_at).mark.ledger_size == 4


def _raise_many(folder: str, start: int) -> None:
    water = HighWater(Path(folder))
    for size in range(start, 40, 2):
        try:
            raise_to(water, dataclasses.replace(mark(), ledger_size=size, ledger_root=root_at(size)))
        except TrustError:
            continue


def test_two_processes_agree_on_the_highest(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_raise_many, args=(str(tmp_path), start)) for start in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    found = HighWater(tmp_path).read(WORKSPACE)
    assert found is not None
    assert found.ledger_size == 39
