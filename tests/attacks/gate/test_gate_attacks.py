"""Attacks on the gate by somebody who can write the workspace, and holds at most the wrong keys.

Each has its positive control: the same evidence, left alone, is permitted.
"""

import base64
import dataclasses
import json
from collections.abc import Callable

import pytest

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.certificate import Revocation, Scope
from peft_assay.core.digest import sha256
from peft_assay.core.errors import ActivationDenied, TrustError
from peft_assay.gate.authorize import authorize
from peft_assay.gate.interface import Evidence
from peft_assay.trust.highwater import Mark
from peft_assay.trust.roles import Role
from peft_assay.trust.sealer import RoleSealer
from trust.world import BASE_FILES, BASE_STATE, DAY, HOUR, NOW, POLICY, SUITE, World, artifact_of, lock_of, sealer_of


@pytest.fixture
def world() -> World:
    return World.make()


def refused(world: World, evidence: Evidence, says: str, error=TrustError, now=NOW) -> None:
    with pytest.raises(error, match=says):
        authorize(evidence, world.anchor, now)


def in_order(world: World) -> Evidence:
    evidence = world.evidence()
    authorize(evidence, world.anchor, NOW)
    return evidence


def with_certificate(evidence: Evidence, envelope: bytes) -> Evidence:
    return dataclasses.replace(evidence, certificates=(envelope,))


def edit(envelope: bytes, change: Callable[[dict], None]) -> bytes:
    document = json.loads(envelope)
    change(document)
    return canonical_bytes(document)


def edit_payload(envelope: bytes, change: Callable[[dict], None]) -> bytes:
    def inner(document: dict) -> None:
        payload = json.loads(base64.b64decode(document["payload"]))
        change(payload)
        document["payload"] = base64.b64encode(canonical_bytes(payload)).decode()

    return edit(envelope, inner)


def resealed(envelope: bytes, change: Callable[[dict], None], sealer: RoleSealer) -> bytes:
    """The statement changed and signed again by `sealer`, past every check of issue()."""
    payload = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    change(payload)
    return sealer.seal(payload)


def test_payload_altered_under_the_signature(world: World) -> None:
    evidence = in_order(world)
    for change in (
        lambda p: p["predicate"].update(timeVerified="2026-11-23T11:59:00Z"),
        lambda p: p["predicate"].update(resourceUri=p["predicate"]["resourceUri"].replace("2026-12", "2036-12")),
        lambda p: p["subject"][0]["digest"].update(sha256="0" * 64),
    ):
        refused(world, with_certificate(evidence, edit_payload(evidence.certificates[0], change)), "does not verify")


def test_signature_stripped_or_replaced(world: World) -> None:
    evidence = in_order(world)
    envelope = evidence.certificates[0]
    refused(world, with_certificate(evidence, edit(envelope, lambda d: d.update(signatures=[]))), "0 signatures")
    zero = base64.b64encode(bytes(64)).decode()
    forged = edit(envelope, lambda d: d["signatures"][0].update(sig=zero))
    refused(world, with_certificate(evidence, forged), "does not verify")


def test_signed_by_a_stranger_or_in_another_role(world: World) -> None:
    evidence = in_order(world)
    stranger = sealer_of(Role.AUTHORITY)
    sandbox_as_authority = RoleSealer(Role.AUTHORITY, world.sandbox.public, world.sandbox.signer)
    approver_as_authority = RoleSealer(Role.AUTHORITY, world.approver.public, world.approver.signer)
    observation = world.observation()
    for sealer in (stranger, sandbox_as_authority, approver_as_authority):
        envelope = world.certificate(observation, sealer=sealer)
        refused(world, with_certificate(evidence, envelope), "not pinned for this role")
        refused(world, world.evidence(revocations=world.revocations(sealer=sealer)), "not pinned for this role")


def test_a_stranger_s_signature_under_the_authority_s_key_id(world: World) -> None:
    evidence = in_order(world)
    payload = base64.b64decode(json.loads(evidence.certificates[0])["payload"])
    pae = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(payload), payload)
    sig = sealer_of(Role.AUTHORITY).signer.sign(pae).signature
    forged = edit(
        evidence.certificates[0],
        lambda d: d["signatures"][0].update(sig=base64.b64encode(bytes.fromhex(sig)).decode()),
    )
    refused(world, with_certificate(evidence, forged), "does not verify")


@pytest.mark.parametrize("change", [
    lambda p: p["predicate"].update(verificationResult="FAILED"),
    lambda p: p["predicate"].update(verificationResult="passed"),
    lambda p: p["predicate"].pop("verificationResult"),
    lambda p: p["predicate"].update(verifiedLevels=["FAILED"]),
    lambda p: p["predicate"].update(verifiedLevels=[]),
    lambda p: p["predicate"].update(verifiedLevels=["PEFT_ASSAY_ADMISSIBLE", "PEFT_ASSAY_ADMISSIBLE"]),
    lambda p: p["predicate"].update(inputAttestations=[]),
    lambda p: p["predicate"].pop("timeVerified"),
    lambda p: p["predicate"].update(surprise=True),
    lambda p: p["predicate"]["verifier"].update(id="https://w3id.org/peft-assay/authority/" + "0" * 64),
    lambda p: p["predicate"].update(resourceUri="peft-assay:context:sha256:" + "0" * 64),
    lambda p: p["predicate"].update(resourceUri=p["predicate"]["resourceUri"] + "&until=2099-01-01T00:00:00Z"),
])  # fmt: skip
def test_summaries_that_do_not_say_passed_in_full(world: World, change) -> None:
    evidence = in_order(world)
    envelope = evidence.certificates[0]
    authorize(with_certificate(evidence, resealed(envelope, lambda _: None, world.authority)), world.anchor, NOW)
    refused(world, with_certificate(evidence, resealed(envelope, change, world.authority)), "gate check 4")


def test_an_observation_or_a_list_passed_off_as_a_certificate(world: World) -> None:
    evidence = in_order(world)
    world.pin(Role.AUTHORITY, world.authority.public, world.sandbox.public)
    refused(world, with_certificate(evidence, world.observation()), "predicate type")
    refused(world, with_certificate(evidence, world.revocations()), "predicate type")


def test_a_certificate_for_another_context(world: World) -> None:
    evidence = in_order(world)
    refused(world, dataclasses.replace(evidence, lock=lock_of(engine="vllm")), "another context", ActivationDenied)


def test_swapped_bytes(world: World) -> None:
    evidence = in_order(world)
    poisoned = {**world.files, "adapter_model.safetensors": b"poisoned"}
    refused(world, dataclasses.replace(evidence, files=poisoned), "not the certified ones", ActivationDenied)
    both = dataclasses.replace(evidence, files=poisoned, artifact=artifact_of(poisoned))
    refused(world, both, "other bytes", ActivationDenied)
    moved = dict(zip(reversed(list(world.files)), world.files.values(), strict=True))
    refused(world, dataclasses.replace(evidence, files=moved), "not the certified ones", ActivationDenied)


def test_dated_in_the_future(world: World) -> None:
    in_order(world)
    observation = world.observation()
    late = world.certificate(observation, now=NOW + DAY)
    evidence = world.evidence(certificates=(late,), observations={sha256(observation): observation})
    refused(world, evidence, "from the future", ActivationDenied)
    ahead = world.observation(started_at=NOW + DAY, finished_at=NOW + DAY)
    both = world.evidence(certificates=(world.certificate(ahead, now=NOW + DAY),), observations={sha256(ahead): ahead})
    refused(world, both, "from the future", ActivationDenied)


def test_an_old_list_put_back(world: World) -> None:
    evidence = in_order(world)
    first = world.open_list(evidence.revocations or b"")
    hold = Revocation(Scope.ADAPTER, world.artifact.digest, "poisoned", NOW - HOUR)
    second = world.revocations(hold, previous=first)
    evidence = dataclasses.replace(evidence, lists={first.list.envelope: evidence.revocations})
    refused(world, dataclasses.replace(evidence, revocations=second), "withdrawn", ActivationDenied)
    seen = Mark(world.open_list(second).list.sequence, 0, sha256(b""), NOW)
    refused(world, dataclasses.replace(evidence, mark=seen), "put back")


def test_a_list_kept_back_until_it_is_stale(world: World) -> None:
    evidence = in_order(world)
    refused(world, evidence, "was fresh until", ActivationDenied, now=NOW + 8 * DAY)


def test_the_clock_put_back_to_revive_a_stale_list(world: World) -> None:
    evidence = in_order(world)
    mark = Mark(1, 0, sha256(b""), NOW + 8 * DAY)
    refused(world, dataclasses.replace(evidence, mark=mark), "clock was put back")


@pytest.mark.parametrize("scope", list(Scope))
def test_withdrawn_in_every_scope(world: World, scope: Scope) -> None:
    evidence = in_order(world)
    targets = {
        Scope.CERTIFICATE: [sha256(evidence.certificates[0])],
        Scope.ADAPTER: [world.artifact.digest],
        Scope.WEIGHTS: [sha256(world.files["adapter_model.safetensors"])],
        Scope.POLICY: [POLICY.digest],
        Scope.SUITE: [SUITE],
        Scope.BASE: [BASE_STATE, BASE_FILES],
        Scope.KEY: [world.sandbox.keyid],
    }
    for target in targets[scope]:
        hold = Revocation(scope, target, "no longer", NOW - HOUR)
        held = dataclasses.replace(evidence, revocations=world.revocations(hold))
        refused(world, held, f"withdrawn since .*{scope.value} {target}.: no longer", ActivationDenied)
    nobody = "0" * 64 if scope is Scope.KEY else "sha256:" + "0" * 64
    elsewhere = Revocation(scope, nobody, "another", NOW - HOUR)
    authorize(dataclasses.replace(evidence, revocations=world.revocations(elsewhere)), world.anchor, NOW)


def test_a_withdrawn_authority_key_neither_certifies_nor_vouches_for_its_own_list(world: World) -> None:
    evidence = in_order(world)
    second = sealer_of(Role.AUTHORITY)
    world.pin(Role.AUTHORITY, world.authority.public, second.public)
    hold = Revocation(Scope.KEY, world.authority.keyid, "stolen", NOW - HOUR)
    refused(world, dataclasses.replace(evidence, revocations=world.revocations(hold)), "a key that it withdraws")
    by_second = world.revocations(hold, sealer=second)
    refused(world, dataclasses.replace(evidence, revocations=by_second), "withdrawn", ActivationDenied)


def test_certifying_again_does_not_lift_a_hold(world: World) -> None:
    evidence = in_order(world)
    hold = Revocation(Scope.CERTIFICATE, sha256(evidence.certificates[0]), "no longer", NOW - HOUR)
    held = world.revocations(hold)
    again = world.certificate(*evidence.observations.values(), now=NOW - HOUR / 5)
    both = dataclasses.replace(evidence, certificates=(again, *evidence.certificates), revocations=held)
    refused(world, both, "withdrawn", ActivationDenied)
    authorize(dataclasses.replace(both, revocations=world.revocations()), world.anchor, NOW)


def test_only_an_approver_lifts_a_hold(world: World) -> None:
    evidence = in_order(world)
    hold = Revocation(Scope.ADAPTER, world.artifact.digest, "poisoned", NOW - HOUR)
    held = world.revocations(hold)
    first = world.open_list(held)
    evidence = dataclasses.replace(evidence, lists={first.list.envelope: held})
    lifted = world.revocations(previous=first, lift=[world.lift(hold)])
    authorize(dataclasses.replace(evidence, revocations=lifted), world.anchor, NOW)
    impostor = RoleSealer(Role.APPROVER, world.authority.public, world.authority.signer)
    smuggled = world.revocations(
        previous=first, lift=[world.lift(hold, sealer=impostor)], approvers=[world.authority.public]
    )
    refused(world, dataclasses.replace(evidence, revocations=smuggled), "withdrawn", ActivationDenied)


def test_observations_missing_altered_or_about_something_else(world: World) -> None:
    evidence = in_order(world)
    ((digest, observation),) = evidence.observations.items()
    refused(world, dataclasses.replace(evidence, observations={}), "absent or altered")
    altered = edit_payload(observation, lambda p: p["predicate"].update(attempt=2))
    refused(world, dataclasses.replace(evidence, observations={digest: altered}), "absent or altered")

    def point_at(other: bytes) -> Evidence:
        name = sha256(other).removeprefix("sha256:")
        inputs = [{"digest": {"sha256": name}}]
        envelope = resealed(
            evidence.certificates[0], lambda p: p["predicate"].update(inputAttestations=inputs), world.authority
        )
        return dataclasses.replace(evidence, certificates=(envelope,), observations={sha256(other): other})

    authorize(point_at(world.observation(attempt=2)), world.anchor, NOW)
    refused(world, point_at(altered), "does not verify")
    stranger = sealer_of(Role.SANDBOX)
    refused(world, point_at(world.observation(sealer=stranger)), "not pinned for this role")
    other_artifact = artifact_of({"adapter_config.json": b"{}"})
    refused(world, point_at(world.observation(artifact=other_artifact)), "another adapter")
    refused(world, point_at(world.observation(conditions={"base": 1})), "other conditions")
    refused(world, point_at(world.observation(started_at=NOW - 2 * HOUR)), "dates its oldest observation otherwise")
    weak = world.observation(attestation={"level": 0})
    refused(world, point_at(weak), "isolation level 0, below 10", ActivationDenied)


def test_a_fresh_certificate_does_not_make_old_observations_young(world: World) -> None:
    in_order(world)
    old = world.observation(started_at=NOW - 29 * DAY, finished_at=NOW - 29 * DAY)
    evidence = world.evidence(certificates=(world.certificate(old),), observations={sha256(old): old})
    authorize(evidence, world.anchor, NOW)
    later = dataclasses.replace(evidence, revocations=world.revocations(now=NOW + DAY))
    refused(world, later, "expired", ActivationDenied, now=NOW + 2 * DAY)


def test_a_revoked_certificate_spelt_otherwise_is_not_another_certificate(world: World) -> None:
    evidence = in_order(world)
    envelope = evidence.certificates[0]
    hold = Revocation(Scope.CERTIFICATE, sha256(envelope), "no longer", NOW - HOUR)
    held = dataclasses.replace(evidence, revocations=world.revocations(hold))
    document = json.loads(envelope)
    spellings = [
        envelope + b"\n",
        json.dumps(document).encode(),
        json.dumps(dict(reversed(document.items())), separators=(",", ":")).encode(),
        b"\xef\xbb\xbf" + envelope,
        edit(envelope, lambda d: d.update(payload=d["payload"].replace("+", "-").replace("/", "_") + "\n")),
        edit(envelope, lambda d: d["signatures"].append({"keyid": "0" * 64, "sig": d["signatures"][0]["sig"]})),
        edit(envelope, lambda d: d["signatures"].append(d["signatures"][0])),
    ]
    for spelt in spellings:
        assert sha256(spelt) != hold.target
        refused(world, with_certificate(held, spelt), "gate check 4")


def test_a_key_named_twice_has_one_meaning_or_none(world: World) -> None:
    evidence = in_order(world)
    payload = base64.b64decode(json.loads(evidence.certificates[0])["payload"])
    twice = payload.replace(
        b'"verificationResult":"PASSED"', b'"verificationResult":"FAILED","verificationResult":"PASSED"'
    )
    assert twice != payload
    pae = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(twice), twice)
    sig = bytes.fromhex(world.authority.signer.sign(pae).signature)
    envelope = canonical_bytes(
        {
            "payload": base64.b64encode(twice).decode(),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"keyid": world.authority.keyid, "sig": base64.b64encode(sig).decode()}],
        }
    )
    refused(world, with_certificate(evidence, envelope), "appears twice")
