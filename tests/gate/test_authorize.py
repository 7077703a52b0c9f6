"""The gate says yes to evidence in order, and names the first check that fails."""

import dataclasses

import pytest

from peft_assay.core.certificate import Reversal, Revocation, Scope
from peft_assay.core.context import Lock
from peft_assay.core.digest import sha256
from peft_assay.core.errors import ActivationDenied, TrustError, UsageError
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.gate.authorize import authorize, explain
from peft_assay.gate.interface import Denial, Evidence, State
from peft_assay.trust.highwater import Mark
from peft_assay.trust.revocations import revocations_document
from peft_assay.trust.roles import Role
from trust.world import BASE_STATE, CONTEXT, DAY, HOUR, LOCK, NOW, World, artifact_of, lock_of, named, sealer_of

NAMES = [
    "anchor",
    "revocations",
    "certificate",
    "signature",
    "observations",
    "waivers",
    "times",
    "withdrawn",
    "bytes",
    "base",
]


@pytest.fixture
def world() -> World:
    return World.make()


def denied(world: World, evidence: Evidence, check: str, says: str, now=NOW) -> None:
    """`check` is the first that fails, and explain and authorize agree on it."""
    assert_failed(world, evidence, check, says, Denial.DENIED, now)
    with pytest.raises(ActivationDenied, match=says) as denial:
        authorize(evidence, world.anchor, now)
    assert denial.value.check == check


def distrusted(world: World, evidence: Evidence, check: str, says: str, now=NOW) -> None:
    assert_failed(world, evidence, check, says, Denial.TRUST, now)
    with pytest.raises(TrustError, match=says) as denial:
        authorize(evidence, world.anchor, now)
    assert check in (denial.value.where or "")


def assert_failed(world: World, evidence: Evidence, check: str, says: str, denial: Denial, now) -> None:
    checks = explain(evidence, world.anchor, now)
    place = NAMES.index(check)
    assert [c.name for c in checks] == NAMES
    assert [c.number for c in checks] == list(range(1, 11))
    states = [c.state for c in checks]
    assert states[: place + 1] == [State.HELD] * place + [State.FAILED], checks
    assert checks[place].denial is denial
    assert all((c.denial is None) == (c.state is not State.FAILED) for c in checks)


def test_evidence_in_order_activates_exactly_these_bytes(world: World) -> None:
    evidence = world.evidence()
    activation = authorize(evidence, world.anchor, NOW)
    assert activation.files == world.files
    assert activation.artifact == world.artifact.digest
    assert activation.certificate == sha256(evidence.certificates[0])
    assert activation.lock == world.lock.digest
    assert activation.process_id == 4711
    assert activation.granted_at == NOW
    assert {check.state for check in explain(evidence, world.anchor, NOW)} == {State.HELD}


def test_activation_ends_with_whatever_ends_first(world: World) -> None:
    assert authorize(world.evidence(), world.anchor, NOW).not_after == NOW - HOUR + 7 * DAY
    soon = world.evidence(revocations=world.revocations(validity=DAY))
    assert authorize(soon, world.anchor, NOW).not_after == NOW - HOUR + DAY
    strict = dataclasses.replace(CONTEXT, maximum_age=2 * HOUR)
    assert authorize(world.evidence(context=strict), world.anchor, NOW).not_after == NOW + HOUR
    observation = world.observation()
    short = world.evidence(
        certificates=(world.certificate(observation, maximum_age=3 * HOUR),),
        observations={sha256(observation): observation},
    )
    assert authorize(short, world.anchor, NOW).not_after == NOW + 2 * HOUR
    world.anchor = dataclasses.replace(world.anchor, revocation_maximum_age=4 * HOUR)
    assert authorize(world.evidence(), world.anchor, NOW).not_after == NOW + 3 * HOUR


def test_a_later_change_of_the_caller_s_files_does_not_reach_the_activation(world: World) -> None:
    activation = authorize(world.evidence(), world.anchor, NOW)
    world.files["adapter_model.safetensors"] = b"swapped afterwards"
    assert activation.files["adapter_model.safetensors"] == b"weights" * 9


def reversed_at(world: World, at, outcome: str = "FAIL", **changes: object) -> Reversal:
    return Reversal(
        **{"artifact": world.artifact.digest, "lock": world.lock.digest, "outcome": outcome, "at": at, **changes}
    )


@pytest.mark.parametrize("outcome", ["FAIL", "INDETERMINATE"])
def test_a_signed_reversal_ends_what_an_earlier_pass_began(world: World, outcome: str) -> None:
    """The certificate is still there and still verifies; judged again, the adapter no longer passes."""
    issued = NOW - HOUR / 4
    for at in (issued, NOW):
        ended = world.revocations(reverse=[reversed_at(world, at, outcome)])
        denied(world, world.evidence(revocations=ended), "times", f"judged again, at .*: the policy said {outcome}")
    stale = dataclasses.replace(world.evidence(revocations=ended), revocations=None)
    denied(world, stale, "revocations", "no revocation list")


def test_a_reversal_ends_no_later_certificate_and_nothing_else(world: World) -> None:
    """A new PASS needs no lift; another adapter and another context stay as they are."""
    before = world.revocations(reverse=[reversed_at(world, NOW - HOUR / 2)])
    authorize(world.evidence(revocations=before), world.anchor, NOW)
    for other in ({"artifact": named("other")}, {"lock": named("other")}):
        authorize(
            world.evidence(revocations=world.revocations(reverse=[reversed_at(world, NOW, **other)])), world.anchor, NOW
        )


def test_what_the_ledger_says_of_the_policy_neither_stops_nor_admits(world: World) -> None:
    """Who can write the workspace can append any verdict there; only a message quotes it."""
    for said in (None, "PASS", "FAIL", "INDETERMINATE", "nonsense"):
        authorize(world.evidence(last_said=said), world.anchor, NOW)
    ended = world.revocations(reverse=[reversed_at(world, NOW)])
    denied(world, world.evidence(revocations=ended, last_said="PASS"), "times", "the policy said FAIL")


HOLD = Revocation(Scope.ADAPTER, named("another adapter"), "incident", NOW - HOUR)


def chained(world: World, *steps: bytes) -> dict:
    return {sha256(step): step for step in steps}


def test_each_list_since_the_marked_one_is_checked(world: World) -> None:
    """A gate that comes back after several lists asks for those between."""
    first = world.revocations(HOLD)
    second = world.revocations(previous=world.open_list(first))
    third = world.revocations(previous=world.open_list(second))
    mark = Mark(1, 5, named("root"), NOW, sha256(first))
    evidence = world.evidence(revocations=third, mark=mark, lists=chained(world, first, second))
    authorize(evidence, world.anchor, NOW)
    skipped = dataclasses.replace(evidence, lists=chained(world, first))
    distrusted(world, skipped, "revocations", "does not continue the list that was seen before")
    swapped = dataclasses.replace(evidence, lists={sha256(second): first, sha256(first): first})
    distrusted(world, swapped, "revocations", "not the bytes that the digest names")
    without_a_mark = dataclasses.replace(evidence, mark=None)
    authorize(without_a_mark, world.anchor, NOW)
    distrusted(world, dataclasses.replace(without_a_mark, lists={}), "revocations", "the first one are not at hand")
    old_mark = dataclasses.replace(evidence, mark=dataclasses.replace(mark, list=None))
    authorize(old_mark, world.anchor, NOW)


@pytest.mark.parametrize("how", ["dropped", "fork", "same number", "another history"])
def test_a_list_that_the_authority_signed_but_that_leaves_something_out(world: World, how: str) -> None:
    first = world.revocations(HOLD)
    record = world.open_list(first)
    mark = Mark(1, 5, named("root"), NOW, sha256(first))

    def signed(sequence: int, previous, *entries: Revocation) -> bytes:
        document = revocations_document(
            sequence=sequence, issued_at=NOW - HOUR, not_after=NOW + DAY, previous=previous, entries=entries, lifts=[]
        )
        return world.authority.seal(document)

    other = signed(1, None)
    forged, says = {
        "dropped": (signed(2, sha256(first)), "dropped"),
        "fork": (signed(2, sha256(other), HOLD), "does not continue"),
        "same number": (other, "does not continue"),
        "another history": (signed(7, None, HOLD), "does not continue"),
    }[how]
    lists = chained(world, first, other)
    distrusted(world, world.evidence(revocations=forged, mark=mark, lists=lists), "revocations", says)
    if how == "dropped":
        distrusted(world, world.evidence(revocations=forged, lists=lists), "revocations", says)
    authorize(world.evidence(revocations=signed(2, sha256(first), HOLD), mark=mark, lists=lists), world.anchor, NOW)
    assert record.list.sequence == mark.sequence


def test_a_hold_on_a_certificate_of_another_context_holds_here_too(world: World) -> None:
    """Editing a label makes another context, and certifying there must not lift the hold."""
    elsewhere = sha256(b"envelope of a certificate under another lock")
    held = world.revocations(Revocation(Scope.CERTIFICATE, elsewhere, "incident", NOW - HOUR))
    authorize(world.evidence(revocations=held), world.anchor, NOW)
    evidence = dataclasses.replace(world.evidence(revocations=held), earlier=frozenset({elsewhere}))
    denied(world, evidence, "withdrawn", "incident")


@pytest.mark.parametrize("outcome", [None, "FAIL"])
def test_a_withdrawal_is_said_before_a_missing_certificate(world: World, outcome: str | None) -> None:
    """To certify again would not help, so that is not what is told; nothing else that is missing hides it either."""
    adapter = world.revocations(Revocation(Scope.ADAPTER, world.artifact.digest, "incident", NOW - HOUR))
    evidence = world.evidence(revocations=adapter, certificates=(), last_said=outcome)
    checks = {check.name: check for check in explain(evidence, world.anchor, NOW)}
    assert checks["certificate"].state is checks["withdrawn"].state is State.FAILED
    assert "revoke --lift TARGET" in (checks["withdrawn"].next_step or "")
    with pytest.raises(ActivationDenied, match="incident") as denial:
        authorize(evidence, world.anchor, NOW)
    assert denial.value.check == "withdrawn"
    another = world.revocations(Revocation(Scope.ADAPTER, named("another"), "incident", NOW - HOUR))
    innocent = world.evidence(revocations=another, certificates=(), last_said=outcome)
    assert {c.name: c.message for c in explain(innocent, world.anchor, NOW)}["withdrawn"] == "needs: observations"
    denied(world, innocent, "certificate", "no certificate")


def test_the_way_back_names_what_was_withdrawn(world: World) -> None:
    """A base or key is not lifted by the name of one adapter."""
    weights = world.artifact.files[0].sha256
    held = world.revocations(Revocation(Scope.WEIGHTS, weights, "incident", NOW - HOUR))
    step = {c.name: c.next_step for c in explain(world.evidence(revocations=held), world.anchor, NOW)}["withdrawn"]
    assert f"revoke --lift {weights} --scope weights" in (step or "")


def test_broken_trust_is_said_before_a_withdrawal(world: World) -> None:
    held = world.revocations(Revocation(Scope.ADAPTER, world.artifact.digest, "incident", NOW - HOUR))
    evidence = world.evidence(revocations=held)
    lost = dataclasses.replace(evidence, observations={})
    assert {c.name: c.state for c in explain(lost, world.anchor, NOW)}["withdrawn"] is State.FAILED
    distrusted(world, lost, "observations", "absent or altered")


def test_every_reason_is_given_at_once(world: World) -> None:
    """A stale list, an expired certificate and another base are three reasons, and each is said."""
    evidence = dataclasses.replace(world.evidence(), base_state=sha256(b"another base"))
    checks = {check.name: check for check in explain(evidence, world.anchor, NOW + 400 * DAY)}
    assert {name for name, check in checks.items() if check.state is State.FAILED} == {"revocations", "times", "base"}
    assert {name for name, check in checks.items() if check.state is State.NOT_REACHED} == {"withdrawn"}
    assert checks["withdrawn"].message == "needs: revocations"
    assert checks["bytes"].state is State.HELD


def test_no_pinned_keys(world: World) -> None:
    evidence = world.evidence()
    for role in (Role.AUTHORITY, Role.SANDBOX):
        fresh = World.make()
        fresh.pin(role)
        distrusted(fresh, evidence, "anchor", "no keys are pinned")


@pytest.mark.parametrize("where", ["anchor", "context"])
def test_development_keys_only_outside_production(world: World, where: str) -> None:
    evidence = world.evidence()
    world.pin(Role.AUTHORITY, world.authority.public, development=True)
    first = explain(evidence, world.anchor, NOW)[0]
    assert first.state is State.HELD
    assert "not for production" in first.message
    if where == "anchor":
        world.anchor = dataclasses.replace(world.anchor, production=True)
    else:
        evidence = dataclasses.replace(evidence, context=dataclasses.replace(CONTEXT, production=True))
    distrusted(world, evidence, "anchor", "development keys")
    step = explain(evidence, world.anchor, NOW)[0].next_step
    assert "rotate-keys" in step
    assert ("production: false under context" in step) == (where == "context")
    world.pin(Role.AUTHORITY, world.authority.public)
    authorize(evidence, world.anchor, NOW)


def test_no_certificate_says_what_is_certified_instead(world: World) -> None:
    denied(world, world.evidence(certificates=()), "certificate", "no certificate")
    refused = world.evidence(certificates=(), last_said="FAIL")
    denied(world, refused, "certificate", "no certificate: the policy said FAIL")
    other = named("other")
    denied(world, world.evidence(certificates=(), other_locks=(other,)), "certificate", f"another context.*{other}")
    denied(world, world.evidence(certificates=(), other_artifacts=(other,)), "certificate", f"other bytes.*{other}")


def test_before_the_first_certificate_the_first_is_what_leads_on(world: World) -> None:
    """Not the list that it begins: to refresh that would lead nowhere."""
    seen = Mark(0, 5, named("root"), NOW, None)
    for mark in (None, seen):
        nothing = world.evidence(certificates=(), revocations=None, mark=mark)
        denied(world, nothing, "revocations", "nothing was certified here yet")
        said = dataclasses.replace(nothing, last_said="FAIL")
        denied(world, said, "revocations", "no certificate: the policy said FAIL")
        steps = [explain(evidence, world.anchor, NOW)[1].next_step for evidence in (nothing, said)]
        assert steps == ["peft-assay certify SOURCE", "peft-assay report SOURCE"]
    gone = world.evidence(certificates=(), revocations=None, mark=dataclasses.replace(seen, sequence=1))
    denied(world, gone, "revocations", "absence of news")


def test_list_freshness(world: World) -> None:
    denied(world, world.evidence(revocations=None), "revocations", "no revocation list")
    stale = world.revocations(now=NOW - 7 * DAY, validity=30 * DAY)
    denied(world, world.evidence(revocations=stale), "revocations", "was fresh until")
    ended = world.revocations(now=NOW - 2 * HOUR, validity=HOUR)
    denied(world, world.evidence(revocations=ended), "revocations", "was fresh until")
    future = world.revocations(now=NOW + HOUR)
    denied(world, world.evidence(revocations=future), "revocations", "future")
    authorize(world.evidence(revocations=world.revocations(now=NOW + HOUR / 30)), world.anchor, NOW)


def test_high_water_mark(world: World) -> None:
    mark = Mark(1, 5, named("root"), NOW, None)
    assert "first use" in explain(world.evidence(), world.anchor, NOW)[1].message
    assert "first use" not in explain(world.evidence(mark=mark), world.anchor, NOW)[1].message
    distrusted(world, world.evidence(mark=dataclasses.replace(mark, sequence=2)), "revocations", "put back")
    ahead = dataclasses.replace(mark, seen_at=NOW + HOUR)
    distrusted(world, world.evidence(mark=ahead), "revocations", "clock was put back")


def test_certificate_times(world: World) -> None:
    evidence = world.evidence(revocations=world.revocations(now=NOW + 29 * DAY))
    denied(world, evidence, "times", "expired", NOW + 30 * DAY)
    young = dataclasses.replace(CONTEXT, maximum_age=HOUR)
    denied(world, world.evidence(context=young), "times", "too old")
    world.anchor = dataclasses.replace(world.anchor, maximum_age=HOUR)
    denied(world, world.evidence(), "times", "too old")


def test_age_counts_from_the_oldest_observation(world: World) -> None:
    old = world.observation(started_at=NOW - 3 * DAY, finished_at=NOW - 3 * DAY)
    new = world.observation()
    evidence = world.evidence(
        certificates=(world.certificate(new, old),), observations={sha256(e): e for e in (old, new)}
    )
    authorize(evidence, world.anchor, NOW)
    world.anchor = dataclasses.replace(world.anchor, maximum_age=2 * DAY)
    denied(world, evidence, "times", "too old")


@pytest.mark.parametrize("where", ["anchor", "context"])
def test_isolation_level(world: World, where: str) -> None:
    evidence = world.evidence()
    if where == "anchor":
        world.anchor = dataclasses.replace(world.anchor, minimum_isolation=IsolationLevel.VM)
    else:
        evidence = dataclasses.replace(evidence, context=dataclasses.replace(CONTEXT, minimum_isolation=40))
    denied(world, evidence, "observations", "level 20, below 40")


def test_bytes_and_base(world: World) -> None:
    for files in ({}, {**world.files, "extra.py": b""}, {**world.files, "adapter_config.json": b"{}"}):
        denied(world, world.evidence(files=files), "bytes", "not the certified ones")
    missing = dict(world.files)
    del missing["adapter_config.json"]
    denied(world, world.evidence(files=missing), "bytes", "not the certified ones")
    denied(world, world.evidence(base_state=named("another base")), "base", "not the lock's")


@pytest.mark.parametrize("base", [None, {}, {"state": 7}, "state"])
def test_a_lock_without_a_base_state_permits_nothing(world: World, base) -> None:
    world.lock = lock_of(base=base)
    denied(world, world.evidence(), "base", "not the lock's")


def test_the_index_of_the_store_is_not_believed(world: World) -> None:
    elsewhere = World.make()
    elsewhere.sandbox, elsewhere.authority, elsewhere.anchor = world.sandbox, world.authority, world.anchor
    elsewhere.artifact = artifact_of({**world.files, "README.md": b""})
    observation = elsewhere.observation()
    denied(world, world.evidence(certificates=(elsewhere.certificate(observation),)), "signature", "other bytes")
    elsewhere.artifact, elsewhere.lock = world.artifact, lock_of(more=1)
    observation = elsewhere.observation()
    denied(world, world.evidence(certificates=(elsewhere.certificate(observation),)), "signature", "another context")


def test_an_older_certificate_still_counts_when_the_newest_cannot_be_read(world: World) -> None:
    evidence = world.evidence()
    authorize(dataclasses.replace(evidence, certificates=(b"{}", *evidence.certificates)), world.anchor, NOW)
    distrusted(world, dataclasses.replace(evidence, certificates=(b"{}",)), "signature", "certificate")


def test_the_certificate_that_came_furthest_explains_the_denial(world: World) -> None:
    evidence = world.evidence(base_state=named("another"))
    both = dataclasses.replace(evidence, certificates=(b"{}", *evidence.certificates))
    assert [c.name for c in explain(both, world.anchor, NOW) if c.state is State.FAILED] == ["base"]


def test_two_authorities(world: World) -> None:
    second = sealer_of(Role.AUTHORITY)
    world.pin(Role.AUTHORITY, world.authority.public, second.public)
    authorize(world.evidence(revocations=world.revocations(sealer=second)), world.anchor, NOW)


def test_a_naive_time_is_refused(world: World) -> None:
    with pytest.raises(UsageError):
        explain(world.evidence(), world.anchor, NOW.replace(tzinfo=None))


def test_removing_any_piece_of_evidence_never_permits(world: World) -> None:
    evidence = world.evidence()
    authorize(evidence, world.anchor, NOW)
    empty = {"files": {}, "certificates": (), "observations": {}, "revocations": None}
    for name, nothing in empty.items():
        with pytest.raises((ActivationDenied, TrustError)):
            authorize(dataclasses.replace(evidence, **{name: nothing}), world.anchor, NOW)
    bare = Lock({"apiVersion": LOCK.document["apiVersion"], "conditions": {}})
    with pytest.raises((ActivationDenied, TrustError)):
        authorize(dataclasses.replace(evidence, lock=bare), world.anchor, NOW)
    assert evidence.base_state == BASE_STATE
