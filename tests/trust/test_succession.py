"""Lists follow one another and drop nothing, also where two histories meet."""

import dataclasses

import pytest

from peft_assay.core.certificate import Reversal, Revocation, Scope
from peft_assay.core.errors import TrustError
from peft_assay.trust.envelope import open_linked
from peft_assay.trust.revocations import revocation_record_of, revocations_document
from peft_assay.trust.succession import ancestors, beginning, check_descent, check_successor, contains, descends
from trust.world import HOUR, NOW, World, named

HOLD = Revocation(Scope.ADAPTER, named("one"), "it leaks", NOW - HOUR)
OTHER = Revocation(Scope.ADAPTER, named("two"), "it lies", NOW - HOUR)
REVERSAL = Reversal(named("one"), named("lock"), "FAIL", NOW - HOUR)


@pytest.fixture
def world() -> World:
    return World.make()


class History:
    """Two beginnings of one key, and the list that merges them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.kept = {}
        self.first = self.keep(world.revocations(HOLD, reverse=[REVERSAL]))
        self.second = self.keep(world.revocations(previous=self.first))
        self.apart = self.keep(world.revocations(OTHER))
        self.merged = self.keep(world.revocations(previous=self.second, merge=[self.apart]))
        self.last = self.keep(world.revocations(previous=self.merged))

    def keep(self, envelope: bytes):
        record = self.world.open_list(envelope)
        self.kept[record.list.envelope] = record
        return record

    def signed(self, **changes: object):
        fields = {
            "sequence": 4,
            "issued_at": NOW - HOUR,
            "not_after": NOW + HOUR,
            "previous": self.merged.list.envelope,
            "entries": self.merged.entries,
            "lifts": [],
            "reversals": self.merged.reversals,
            **changes,
        }
        return self.keep(self.world.authority.seal(revocations_document(**fields)))


@pytest.fixture
def history(world: World) -> History:
    return History(world)


def test_a_merged_list_says_all_that_both_said(history: History) -> None:
    assert history.merged.entries == (HOLD, OTHER)
    assert history.merged.reversals == history.merged.list.reversals == (REVERSAL,)
    assert history.merged.merged == (history.apart.list.envelope,)
    for before in (history.second, history.apart):
        check_successor(before, history.merged)
        assert contains(history.merged, before)
        assert not contains(before, history.merged)
    assert descends(history.last, history.apart, history.kept.get)
    assert descends(history.last, history.first, history.kept.get)
    assert descends(history.last, history.last, history.kept.get)
    assert not descends(history.first, history.last, history.kept.get)
    assert not descends(history.second, history.apart, history.kept.get)
    for since in (None, history.first, history.second, history.apart, history.last):
        check_descent(history.last, None if since is None else since.list.envelope, history.kept.get)


def test_beginnings_and_ancestors(history: History) -> None:
    fetch = history.kept.get
    assert beginning(history.last, fetch) == history.first.list.envelope
    assert beginning(history.apart, fetch) == history.apart.list.envelope
    assert beginning(history.second, lambda _: None) is None
    assert {record.list.envelope for record in ancestors(history.last, fetch)} == set(history.kept) - {
        history.last.list.envelope
    }
    assert ancestors(history.last, lambda _: None) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"entries": [OTHER, HOLD]}, "dropped"),
        ({"entries": [HOLD]}, "dropped"),
        ({"reversals": []}, "dropped"),
        ({"sequence": 6}, "does not follow"),
        ({"previous": named("nothing")}, "does not follow"),
        ({"issued_at": NOW - 2 * HOUR}, "older"),
    ],
)
def test_a_step_that_leaves_something_out(history: History, changes: dict, says: str) -> None:
    check_successor(history.merged, history.signed())
    bad = history.signed(**changes)
    with pytest.raises(TrustError, match=says):
        check_successor(history.merged, bad)
    with pytest.raises(TrustError):
        check_descent(bad, history.merged.list.envelope, history.kept.get)
    later = history.signed(sequence=bad.list.sequence + 1, previous=bad.list.envelope, entries=bad.entries)
    with pytest.raises(TrustError):
        check_descent(later, history.first.list.envelope, history.kept.get)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"entries": [HOLD]}, "dropped"), ({"sequence": 1}, "does not follow"), ({"reversals": []}, "dropped")],
)
def test_a_merge_that_leaves_something_out(history: History, changes: dict, says: str) -> None:
    fields = {"previous": history.second.list.envelope, "merged": [history.apart.list.envelope], "sequence": 3}
    whole = {**fields, "entries": [OTHER, HOLD]}
    check_successor(history.apart, history.signed(**whole))
    merged = history.signed(**{**whole, **changes})
    before = history.second if "reversals" in changes else history.apart
    with pytest.raises(TrustError, match=says):
        check_successor(before, merged)


def test_lists_between_are_asked_for(history: History) -> None:
    gone = {digest: record for digest, record in history.kept.items() if record is not history.merged}
    with pytest.raises(TrustError, match="does not continue the list that was seen") as error:
        check_descent(history.last, history.first.list.envelope, gone.get)
    assert "peft-assay revoke --refresh" in (error.value.next_step or "")
    with pytest.raises(TrustError, match="not at hand"):
        check_descent(history.last, None, gone.get)


def test_a_digest_that_verified_bytes_name_vouches_for_a_list(world: World) -> None:
    """Also for one whose key is pinned no more; for no other bytes, and for nothing else than a list."""
    envelope = world.revocations(HOLD)
    record = world.open_list(envelope)
    predicate_type = "https://w3id.org/peft-assay/revocations/v1"
    statement = open_linked(envelope, record.list.envelope, predicate_type=predicate_type)
    assert revocation_record_of(statement, []) == dataclasses.replace(record)
    with pytest.raises(TrustError, match="not the bytes"):
        open_linked(envelope + b" ", record.list.envelope, predicate_type=predicate_type)
    with pytest.raises(TrustError, match="predicate type"):
        open_linked(envelope, record.list.envelope, predicate_type="https://example.org/x")
