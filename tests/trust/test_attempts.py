"""The record of attempts: durable, in each pinned key's file, and never forgetful."""

import dataclasses
import json
from datetime import timedelta
from pathlib import Path

import pytest

from peft_assay.core.errors import StorageError, TrustError
from peft_assay.fingerprint.strengths import Strengths
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


def test_strengths_are_kept(records: AttemptRecords) -> None:
    kept = dataclasses.replace(attempt(), strengths=Strengths(named("parts"), (1.5, 0.25)))
    records.begin(kept)
    assert records.all() == (kept,)


@pytest.mark.parametrize(
    ("values", "same"),
    [((1.5, 0.25), True), ((1.5001, 0.25), True), ((1.5, 0.252), False), ((1.5,), False), (None, False)],
)
def test_a_function_is_known_by_its_strengths(values: tuple[float, ...] | None, same: bool) -> None:
    strengths = None if values is None else Strengths(named("parts"), values)
    one = dataclasses.replace(attempt(1), strengths=Strengths(named("parts"), (1.5, 0.25)))
    other = dataclasses.replace(attempt(2), function=named("rewritten"), strengths=strengths)
    assert one.same_function(other) is other.same_function(one) is same
    assert not one.same_function(dataclasses.replace(other, strengths=Strengths(named("of other parts"), (1.5, 0.25))))
    assert one.same_function(dataclasses.replace(other, function=one.function))


@pytest.mark.parametrize("without", ["parts", "strengths"])
def test_strengths_without_their_parts_are_damaged(records: AttemptRecords, without: str) -> None:
    records.begin(dataclasses.replace(attempt(), strengths=Strengths(named("parts"), (1.0,))))
    path = records.folder / f"{ONE}.attempts"
    document = json.loads(path.read_text())
    del document[without]
    path.write_text(json.dumps(document) + "\n")
    with pytest.raises(TrustError, match="damaged record of attempts: strengths"):
        records.all()


@pytest.mark.parametrize("text", ["", "!", "AAAA", "AADAfw==", "AACAvw=="])
def test_damaged_strengths_are_not_missing_ones(records: AttemptRecords, text: str) -> None:
    """Nothing, no base64, no whole number, NaN, -1."""
    records.begin(dataclasses.replace(attempt(), strengths=Strengths(named("parts"), (1.0,))))
    path = records.folder / f"{ONE}.attempts"
    path.write_text(path.read_text().replace("AACAPw==", text))
    with pytest.raises(TrustError, match="damaged record of attempts: strengths"):
        records.all()


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
