"""The record of attempts: durable, in each pinned key's file, and never forgetful."""

import dataclasses
from datetime import timedelta
from pathlib import Path

import pytest

from peft_assay.core.errors import StorageError, TrustError
from peft_assay.trust.attempts import Attempt, AttemptRecords
from trust.world import NOW, named

ONE, TWO = "1" * 64, "2" * 64


def attempt(number: int = 1) -> Attempt:
    at = NOW + timedelta(seconds=number)
    return Attempt(f"{number:032x}", named("function"), named("source"), named("artifact"), named("lock"), at)


@pytest.fixture
def records(tmp_path: Path) -> AttemptRecords:
    (tmp_path / "authority").mkdir()
    return AttemptRecords(tmp_path / "authority", (ONE, TWO))


def test_what_is_begun_is_concluded(records: AttemptRecords) -> None:
    assert records.all() == ()
    for number in (2, 1):
        records.begin(attempt(number))
    assert records.all() == (attempt(1), attempt(2))
    records.conclude(attempt(1).id, "FAIL")
    records.conclude("f" * 32, "PASS")
    assert records.all() == (dataclasses.replace(attempt(1), outcome="FAIL"), attempt(2))


def test_either_key_alone_knows_all(records: AttemptRecords) -> None:
    records.begin(attempt())
    for keyid in (ONE, TWO):
        assert AttemptRecords(records.folder, (keyid,)).all() == (attempt(),)
    AttemptRecords(records.folder, (TWO,)).begin(attempt(2))
    assert records.all() == (attempt(1), attempt(2))


def test_what_a_killed_process_left_of_a_line_is_no_attempt(records: AttemptRecords) -> None:
    records.begin(attempt())
    path = records.folder / f"{ONE}.attempts"
    with path.open("ab") as file:
        file.write(b'{"id":"2')
    assert records.all() == (attempt(),)
    records.begin(attempt(2))
    assert records.all() == (attempt(1), attempt(2))


@pytest.mark.parametrize("line", [b"", b"{", b"7", b"{}", b'{"id":"x","outcome":""}', b'{"outcome":"PASS"}'])
def test_a_damaged_line_is_not_a_missing_one(records: AttemptRecords, line: bytes) -> None:
    records.begin(attempt())
    with (records.folder / f"{ONE}.attempts").open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(TrustError, match="damaged record of attempts"):
        records.all()


def test_places_that_cannot_be_used(tmp_path: Path, records: AttemptRecords) -> None:
    (tmp_path / "file").write_text("")
    blocked = AttemptRecords(tmp_path / "file", (ONE,))
    with pytest.raises(StorageError, match="record of attempts"):
        blocked.begin(attempt())
    (records.folder / f"{ONE}.attempts").mkdir()
    with pytest.raises(StorageError, match="cannot be read"):
        records.all()
