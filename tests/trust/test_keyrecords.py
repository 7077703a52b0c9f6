"""The record of an authority key: durable, whole, outside of any workspace, and readable where it cannot be written."""

import errno
import os
from pathlib import Path

import pytest

from peft_assay.core.digest import hex_of, sha256
from peft_assay.core.errors import StorageError, TrustError
from peft_assay.trust import state_files
from peft_assay.trust.keyrecords import KeyRecords, KnownList

ONE, TWO = "1" * 64, "2" * 64
LIST, LATER = b"a list", b"a later list"


@pytest.fixture
def records(tmp_path: Path) -> KeyRecords:
    return KeyRecords(tmp_path / "authority", (ONE, TWO))


def test_what_is_kept_is_found_again(records: KeyRecords) -> None:
    assert records.known() == ()
    assert records.envelope(sha256(LIST)) is None
    with records.locked() as writable:
        assert writable
        for _ in range(2):
            records.keep(LIST)
            records.raise_to(KnownList(1, sha256(LIST)))
    assert records.envelope(sha256(LIST)) == LIST
    assert records.known() == (KnownList(1, sha256(LIST)),)


def test_each_pinned_key_has_its_record_and_the_newest_comes_first(records: KeyRecords) -> None:
    records.keep(LIST)
    KeyRecords(records.folder, (TWO,)).raise_to(KnownList(1, sha256(LIST)))
    KeyRecords(records.folder, (ONE,)).raise_to(KnownList(2, sha256(LATER)))
    assert records.known() == (KnownList(2, sha256(LATER)), KnownList(1, sha256(LIST)))
    records.raise_to(KnownList(2, sha256(LATER)))
    assert records.known() == (KnownList(2, sha256(LATER)),)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"sequence":0,"list":"x"}', b'{"sequence":1,"list":"sha256:1"}'])
def test_a_damaged_record_is_not_a_missing_one(records: KeyRecords, content: bytes) -> None:
    records.raise_to(KnownList(1, sha256(LIST)))
    (records.folder / f"{ONE}.json").write_bytes(content)
    with pytest.raises(TrustError, match="damaged record of an authority key"):
        records.known()


def test_an_altered_list_is_refused(records: KeyRecords) -> None:
    records.keep(LIST)
    (records.folder / "lists" / f"{hex_of(sha256(LIST))}.json").write_bytes(LATER)
    with pytest.raises(TrustError, match="altered") as error:
        records.envelope(sha256(LIST))
    assert "from a copy" in (error.value.next_step or "")


def test_places_that_cannot_be_used(tmp_path: Path, records: KeyRecords) -> None:
    (tmp_path / "file").write_text("")
    blocked = KeyRecords(tmp_path / "file", (ONE,))
    for act in (
        lambda: blocked.keep(LIST),
        lambda: blocked.raise_to(KnownList(1, sha256(LIST))),
        blocked.known,
        lambda: blocked.envelope(sha256(LIST)),
        lambda: blocked.locked().__enter__(),
        lambda: blocked.locked(reading=True).__enter__(),
    ):
        with pytest.raises(StorageError, match="records of authority keys"):
            act()
    assert records.known() == ()


def test_what_cannot_be_written_can_still_be_read(records: KeyRecords, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate whose user may only read the state compares, and raises nothing. Root writes anywhere: so it is told no."""
    records.keep(LIST)
    records.raise_to(KnownList(1, sha256(LIST)))
    opened = os.open

    def refuses(path, flags, *rest, **named):
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, flags, *rest, **named)

    monkeypatch.setattr(state_files.os, "open", refuses)
    with records.locked(reading=True) as writable:
        assert not writable
        assert records.known() == (KnownList(1, sha256(LIST)),)
    with pytest.raises(StorageError, match="Read-only"), records.locked():
        pass


def test_lines_are_appended_durably(tmp_path: Path) -> None:
    for line in (b"one\n", b"two\n"):
        state_files.append_durably(tmp_path / "lines", line)
    assert (tmp_path / "lines").read_bytes() == b"one\ntwo\n"
