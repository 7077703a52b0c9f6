"""Revocation lists: each continues the one before it, and holds leave force only by an approver's lift."""

import dataclasses

import pytest

from peft_assay.core.certificate import Revocation, Scope
from peft_assay.core.errors import TrustError, UsageError
from peft_assay.trust.roles import Role
from peft_assay.trust.succession import check_successor
from trust.world import DAY, HOUR, NOW, World, named, sealer_of

HOLD = Revocation(Scope.ADAPTER, named("adapter"), "it leaks", NOW - HOUR)


@pytest.fixture
def world() -> World:
    return World.make()


def test_lists_continue_one_another(world: World) -> None:
    first = world.open_list(world.revocations())
    refreshed = world.open_list(world.revocations(previous=first, now=NOW))
    assert (refreshed.list.sequence, refreshed.list.revocations) == (2, ())
    assert refreshed.list.not_after == NOW + 7 * DAY
    held = world.open_list(world.revocations(HOLD, previous=refreshed, now=NOW))
    assert held.list.revocations == (HOLD,)
    kept = world.open_list(world.revocations(previous=held, now=NOW + DAY))
    lifted = world.open_list(world.revocations(previous=kept, now=NOW + DAY, lift=[world.lift(HOLD)]))
    assert kept.list.revocations == (HOLD,)
    assert lifted.list.revocations == ()
    assert lifted.list.sequence == 5
    for before, after in ((first, refreshed), (refreshed, held), (held, kept), (kept, lifted)):
        check_successor(before, after)


def test_only_an_approver_lifts_and_only_what_is_in_force(world: World) -> None:
    held = world.open_list(world.revocations(HOLD))
    with pytest.raises(TrustError, match="not pinned for this role"):
        world.revocations(previous=held, lift=[world.lift(HOLD, sealer=sealer_of(Role.APPROVER))])
    with pytest.raises(TrustError, match="not in force"):
        world.revocations(previous=held, lift=[world.lift(dataclasses.replace(HOLD, reason="another"))])
    with pytest.raises(TrustError, match="not in force"):
        world.revocations(lift=[world.lift(HOLD)])
    lifted = world.open_list(world.revocations(previous=held, lift=[world.lift(HOLD)]))
    with pytest.raises(TrustError, match="not in force"):
        world.revocations(previous=lifted, lift=[world.lift(HOLD)])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"target": "sha256:abc"}, "full sha256"),
        ({"target": "my-adapter"}, "full sha256"),
        ({"reason": " "}, "has a reason"),
        ({"at": NOW + DAY}, "future"),
        ({"at": NOW.replace(tzinfo=None)}, "time zone"),
        ({"scope": Scope.KEY}, "full sha256"),
    ],
)
def test_withdrawals_that_are_none(world: World, change: dict, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        world.revocations(dataclasses.replace(HOLD, **change))


def test_times(world: World) -> None:
    first = world.open_list(world.revocations())
    with pytest.raises(TrustError, match="clock is behind"):
        world.revocations(previous=first, now=NOW - 2 * HOUR)
    with pytest.raises(UsageError, match="longer than nothing"):
        world.revocations(validity=0 * DAY)
