"""Issuing: only a PASS over verified observations of exactly this artifact, in exactly this context."""

import dataclasses

import pytest

from peft_assay.core.certificate import Revocation, Scope
from peft_assay.core.digest import sha256
from peft_assay.core.errors import TrustError, UsageError
from peft_assay.core.policy import Policy, Rule
from peft_assay.core.verdict import Outcome
from trust.world import DAY, HOUR, LOCK, NOW, POLICY, World, artifact_of, lock_of, named


@pytest.fixture
def world() -> World:
    return World.make()


def test_a_pass_is_certified_from_its_oldest_observation(world: World) -> None:
    old, new = world.observation(started_at=NOW - DAY, finished_at=NOW - DAY), world.observation()
    envelope = world.certificate(new, old, maximum_age=10 * DAY)
    certificate = world.certificate_view(envelope)
    assert certificate.observed_at == NOW - DAY
    assert certificate.not_after == NOW + 9 * DAY
    assert certificate.issued_at == NOW - HOUR / 4
    assert certificate.observations == (sha256(new), sha256(old))
    assert (certificate.artifact, certificate.lock) == (world.artifact.digest, LOCK.digest)
    assert certificate.policy == POLICY.digest


def refused(world: World, says: str, *observations: bytes, error=TrustError, **changes) -> None:
    world.certificate(world.observation())
    with pytest.raises(error, match=says):
        world.certificate(*(observations or (world.observation(),)), **changes)


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INDETERMINATE])
def test_nothing_but_pass_is_signed(world: World, outcome: Outcome) -> None:
    refused(world, f"verdict is {outcome.value}", verdict=world.verdict(outcome))


@pytest.mark.parametrize("part", ["artifact", "lock", "policy"])
def test_a_verdict_about_something_else(world: World, part: str) -> None:
    refused(world, "about another", verdict=world.verdict(**{part: named("other")}))


def test_a_verdict_that_leaves_rules_unanswered(world: World) -> None:
    more = Policy(POLICY.id, POLICY.digest, (*POLICY.rules, Rule("second", "true", "", "")))
    refused(world, "exactly the rules", policy=more)


def test_evidence_about_something_else(world: World) -> None:
    with pytest.raises(TrustError, match="nothing was examined"):
        world.certificate()
    refused(world, "another artifact", world.observation(artifact=artifact_of({"x": b""})))
    refused(world, "other conditions", world.observation(conditions={"base": 1}))
    twice = world.observation()
    refused(world, "named twice", twice, twice)


def test_times(world: World) -> None:
    refused(world, "dated in the future", now=NOW - 2 * HOUR)
    refused(world, "already too old", maximum_age=HOUR / 2)
    refused(world, "at least one attempt", attempts=0, error=UsageError)
    refused(world, "longer than nothing", maximum_age=0 * DAY, error=UsageError)


def test_what_is_withdrawn_is_not_certified_again(world: World) -> None:
    observation = world.observation()
    first = world.certificate(observation)
    for scope, target in (
        (Scope.CERTIFICATE, sha256(first)),
        (Scope.ADAPTER, world.artifact.digest),
        (Scope.POLICY, POLICY.digest),
        (Scope.KEY, world.sandbox.keyid),
        (Scope.KEY, world.authority.keyid),
    ):
        hold = Revocation(scope, target, "no longer", NOW - HOUR)
        record = world.open_list(world.revocations(hold))
        refused(world, f"withdrawn: {scope.value}", observation, revocations=record.list, earlier=[sha256(first)])
        lifted = world.open_list(world.revocations(previous=record, lift=[world.lift(hold)]))
        world.certificate(observation, revocations=lifted.list, earlier=[sha256(first)])


def test_a_lock_holds_bare_hex_too(world: World) -> None:
    world.lock = lock_of(table="f" * 64, parts=(1, None, {"x": True}))
    hold = Revocation(Scope.SUITE, "sha256:" + "f" * 64, "leaked", NOW - HOUR)
    with pytest.raises(TrustError, match="withdrawn: suite"):
        world.certificate(world.observation(), revocations=world.open_list(world.revocations(hold)).list)
    assert dataclasses.is_dataclass(hold)
