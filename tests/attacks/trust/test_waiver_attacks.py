"""Attacks on waivers: whoever wants a rule out of the way without an approver having accepted exactly that.

Each starts from the same positive control: a rule that fails, a waiver of it, a certificate on it, and a gate that
permits. Then one thing is another.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from securesystemslib.signer import CryptoSigner

from peft_assay.core.certificate import Revocation, Scope
from peft_assay.core.context import LOCK_VERSION, Lock
from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import ActivationDenied, TrustError
from peft_assay.core.observation import ObservedBy, ok, sort_observations
from peft_assay.core.verdict import Outcome, RuleResult, Verdict
from peft_assay.core.vocabulary import vocabulary
from peft_assay.core.waiver import Waiver
from peft_assay.evaluate.document import load_policy
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.evaluate.interface import CompiledPolicy
from peft_assay.evaluate.waive import rule_digest, waive
from peft_assay.gate.authorize import authorize
from peft_assay.trust.anchor import parse_anchor
from peft_assay.trust.envelope import seal
from peft_assay.trust.roles import WAIVER, Role
from peft_assay.trust.sealer import RoleSealer
from peft_assay.trust.waivers import open_waiver, waiver_document
from trust.world import BASE_STATE, DAY, HOUR, NOW, World, artifact_of, sealer_of

TASK = {"id": "task", "assert": "suite.core.rate >= params.floor", "why": "It does not do the task."}
SEEN = {"suite.core.rate": 0.8, "plan.unmet": ("a.b",), "sandbox.level": 20, "context.production": False}


def policy_of(*rules: dict[str, str], floor: float = 0.9) -> CompiledPolicy:
    document = {"apiVersion": "peft-assay/v1", "kind": "Policy", "id": "p", "description": "d", "rules": list(rules)}
    if any("params.floor" in rule["assert"] for rule in rules):
        document["params"] = {"floor": floor}
    return load_policy(yaml.safe_dump(document).encode(), "p.yaml", vocabulary(["core"]))


@dataclass
class Scene:
    """A world in which one rule fails and is waived."""

    world: World
    policy: CompiledPolicy
    seen: dict[str, Any]
    now: Any = NOW - HOUR / 4

    @classmethod
    def make(cls, policy: CompiledPolicy | None = None, **seen: Any) -> "Scene":
        scene = cls(World.make(), policy or policy_of(TASK), SEEN | seen)
        scene.world.lock = scene.lock()
        return scene

    def lock(self, **parts: Any) -> Lock:
        conditions = {"base": {"state": BASE_STATE}, "suites": {"core": sha256(b"suite")}}
        document = {"apiVersion": LOCK_VERSION, "policy": self.policy.policy.digest, "production": False}
        return Lock({**document, "conditions": conditions, **parts})

    def observation(self) -> bytes:
        made = sort_observations(ok(n, v, by=ObservedBy.SUPERVISOR) for n, v in self.seen.items() if v is not None)
        return self.world.observation(observations=made)

    def waiver(self, **changes: Any) -> Waiver:
        """The waiver as `peft-assay waive` would make it."""
        rule = self.policy.rules[0]
        return dataclasses.replace(
            Waiver(
                self.world.artifact.digest, rule.rule.id, rule_digest(rule), self.world.lock.circumstances,
                {"suite.core.rate": 0.8}, "Risk", "review 7", NOW - HOUR, NOW + DAY,
            ),
            **changes,
        )  # fmt: skip

    def sealed(self, waiver: Waiver | None = None) -> bytes:
        return self.world.approver.seal(waiver_document(waiver or self.waiver()))

    def opened(self, envelope: bytes) -> Waiver:
        return open_waiver(envelope, self.world.anchor.keys_of(Role.APPROVER))

    def verdict(self, *envelopes: bytes, policy: CompiledPolicy | None = None) -> Verdict:
        judged = policy or self.policy
        record = self.world.record(self.observation())
        found = evaluate(judged, record.observations, self.world.lock.digest)
        waivers = [self.opened(envelope) for envelope in envelopes]
        return waive(judged, found, waivers, circumstances=self.world.lock.circumstances, now=self.now)

    def certificate(self, observation: bytes, *envelopes: bytes, **changes: Any) -> bytes:
        given = {
            "verdict": self.verdict(*envelopes),
            "policy": self.policy.policy,
            "now": self.now,
            "waivers": [self.opened(envelope) for envelope in envelopes],
        }
        return self.world.certificate(observation, **{**given, **changes})

    def evidence(self, *envelopes: bytes, **changes: Any) -> Any:
        observation = self.observation()
        waivers = {sha256(envelope): envelope for envelope in envelopes}
        given = {
            "certificates": (self.certificate(observation, *envelopes),),
            "observations": {sha256(observation): observation},
            "waivers": waivers,
            "base_state": BASE_STATE,
        }
        return self.world.evidence(**{**given, **changes})


@pytest.fixture
def scene() -> Scene:
    """The positive control, seen to work before anything is attacked."""
    scene = Scene.make()
    assert scene.verdict().outcome is Outcome.FAIL
    envelope = scene.sealed()
    verdict = scene.verdict(envelope)
    assert verdict.outcome is Outcome.PASS
    assert [result.outcome for result in verdict.results] == [Outcome.WAIVED]
    authorize(scene.evidence(envelope), scene.world.anchor, NOW)
    return scene


def unmoved(scene: Scene, *envelopes: bytes, policy: CompiledPolicy | None = None) -> None:
    """The rule fails as if there were no waiver."""
    assert scene.verdict(*envelopes, policy=policy).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    "edited",
    [
        policy_of(TASK, floor=0.95),
        policy_of(TASK | {"assert": "suite.core.rate >= params.floor && suite.core.rate >= 0.5"}),
        policy_of(TASK | {"assert": "suite.core.rate >= 0.9"}),
        policy_of(TASK | {"assert": "suite.core.rate  >= params.floor"}),
        policy_of(
            {**TASK, "when": "suite.core.rate < 0.9"}, {"id": "x", "assert": "suite.core.rate >= 0.0", "why": "w"}
        ),
    ],
    ids=["another floor", "one more clause", "the floor in the text", "another spelling", "a guard"],
)
def test_the_rule_was_edited(scene: Scene, edited: CompiledPolicy) -> None:
    unmoved(scene, scene.sealed(), policy=edited)


def test_another_rule_by_the_same_name_or_this_rule_by_another(scene: Scene) -> None:
    unmoved(scene, scene.sealed(), policy=policy_of({**TASK, "assert": "suite.core.rate == 1.0"}))
    unmoved(scene, scene.sealed(), policy=policy_of({**TASK, "id": "other"}))
    unmoved(scene, scene.sealed(scene.waiver(rule="other")))


def test_whole_numbers_and_fractions_are_two_rules(scene: Scene) -> None:
    whole, fraction = (
        rule_digest(policy_of({**TASK, "assert": "scan.tokens > params.floor"}, floor=floor).rules[0])
        if isinstance(floor, int)
        else rule_digest(policy_of({**TASK, "assert": "suite.core.rate > params.floor"}, floor=floor).rules[0])
        for floor in (9, 9.0)
    )
    assert whole != fraction


def test_another_adapter(scene: Scene) -> None:
    unmoved(scene, scene.sealed(scene.waiver(artifact=artifact_of({"x": b"y"}).digest)))


@pytest.mark.parametrize("value", [0.79, 0.81, 0.8000000000000002, 0.0])
def test_another_value_better_or_worse(scene: Scene, value: float) -> None:
    envelope = scene.sealed()
    scene.seen["suite.core.rate"] = value
    unmoved(scene, envelope)


def test_missing_evidence_cannot_be_accepted(scene: Scene) -> None:
    """Taking the observation away does not turn the waiver into one for nothing."""
    envelope = scene.sealed()
    scene.seen["suite.core.rate"] = None
    assert scene.verdict(envelope).outcome is Outcome.INDETERMINATE


def test_another_deployment(scene: Scene) -> None:
    envelope = scene.sealed()
    for parts in ({"production": True}, {"labels": {"tier": "1"}}, {"conditions": {"base": {"state": BASE_STATE}}}):
        elsewhere = dataclasses.replace(scene.world, lock=scene.lock(**parts))
        unmoved(dataclasses.replace(scene, world=elsewhere), envelope)


def test_an_edit_of_another_rule_ends_no_waiver(scene: Scene) -> None:
    more = policy_of(TASK, {"id": "second", "assert": "suite.core.rate > 0.0", "why": "w"})
    assert scene.verdict(scene.sealed(), policy=more).outcome is Outcome.PASS


def test_ended_or_not_begun(scene: Scene) -> None:
    unmoved(scene, scene.sealed(scene.waiver(expires=scene.now)))
    unmoved(scene, scene.sealed(scene.waiver(at=scene.now + HOUR)))


def test_held_back_until_after_its_end(scene: Scene) -> None:
    """The certificate ends with the waiver, and the gate asks the waiver itself as well."""
    envelope = scene.sealed()
    evidence = scene.evidence(envelope)
    certificate = scene.world.certificate_view(evidence.certificates[0])
    assert certificate.not_after == NOW + DAY
    assert authorize(evidence, scene.world.anchor, NOW).not_after == NOW + DAY
    fresh = scene.world.revocations(now=NOW + DAY - HOUR)
    with pytest.raises(ActivationDenied, match="not in force"):
        authorize(dataclasses.replace(evidence, revocations=fresh), scene.world.anchor, NOW + DAY)


def test_a_certificate_that_outlives_its_waiver(scene: Scene) -> None:
    """As a careless authority would sign it: the gate does not take its word."""
    envelope = scene.sealed()
    evidence = scene.evidence(envelope)

    def longer(payload: dict[str, Any]) -> None:
        payload["predicate"]["resourceUri"] = payload["predicate"]["resourceUri"].replace(
            "until=2026-11-24", "until=2026-12-24"
        )

    stretched = dataclasses.replace(
        evidence,
        certificates=(resealed(evidence.certificates[0], longer, scene.world.authority),),
        revocations=scene.world.revocations(now=NOW + DAY),
    )
    authorize(dataclasses.replace(stretched, revocations=evidence.revocations), scene.world.anchor, NOW)
    with pytest.raises(ActivationDenied, match="not in force"):
        authorize(stretched, scene.world.anchor, NOW + 2 * DAY)


@pytest.mark.parametrize("role", [Role.AUTHORITY, Role.SANDBOX])
def test_signed_in_another_role(scene: Scene, role: Role) -> None:
    sealer: RoleSealer = getattr(scene.world, role.value)
    document = waiver_document(scene.waiver())
    with pytest.raises(TrustError, match="does not sign"):
        sealer.seal(document)
    forged = seal(document, sealer.signer)
    with pytest.raises(TrustError, match="not pinned for this role"):
        scene.opened(forged)
    refused_at_the_gate(scene, forged, "not pinned for this role")


def test_signed_by_a_stranger_or_under_the_approver_s_name(scene: Scene) -> None:
    document = waiver_document(scene.waiver())
    stranger = sealer_of(Role.APPROVER)
    with pytest.raises(TrustError, match="not pinned"):
        scene.opened(stranger.seal(document))
    claimed = json.loads(stranger.seal(document))
    claimed["signatures"][0]["keyid"] = scene.world.approver.keyid
    from peft_assay.core.canonical import canonical_bytes

    with pytest.raises(TrustError, match="does not verify"):
        scene.opened(canonical_bytes(claimed))


def test_approved_by_the_authority_itself(scene: Scene) -> None:
    """An anchor that pins one key twice is refused; made past that, the authority still does not take its own word."""
    signer = CryptoSigner.generate_ed25519()
    both = {role: sealer_of(role, signer) for role in (Role.AUTHORITY, Role.APPROVER)}
    key = both[Role.AUTHORITY].public
    pinned = {"keyid": key.keyid, "scheme": key.scheme, "public": key.public, "development": False}
    other = scene.world.sandbox.public
    third = {"keyid": other.keyid, "scheme": other.scheme, "public": other.public, "development": False}
    document = {
        "apiVersion": "peft-assay/trust/v1", "production": False, "maximumAge": "30d", "minimumIsolation": 10,
        "keys": {"authority": [pinned], "sandbox": [third], "approver": [dict(pinned)]},
    }  # fmt: skip
    with pytest.raises(TrustError, match="pinned twice"):
        parse_anchor(yaml.safe_dump(document).encode(), where="trust.yaml")
    scene.world.authority, scene.world.approver = both[Role.AUTHORITY], both[Role.APPROVER]
    scene.world.pin(Role.AUTHORITY, key)
    scene.world.pin(Role.APPROVER, key)
    with pytest.raises(TrustError, match="nobody accepts their own"):
        scene.certificate(scene.observation(), scene.sealed())


def test_the_approver_s_key_is_withdrawn(scene: Scene) -> None:
    envelope = scene.sealed()
    evidence = scene.evidence(envelope)
    hold = Revocation(Scope.KEY, scene.world.approver.keyid, "stolen", NOW - HOUR)
    with pytest.raises(ActivationDenied, match="stolen"):
        authorize(dataclasses.replace(evidence, revocations=scene.world.revocations(hold)), scene.world.anchor, NOW)
    record = scene.world.open_list(scene.world.revocations(hold))
    with pytest.raises(TrustError, match="stolen"):
        scene.certificate(scene.observation(), envelope, revocations=record.list)


def test_withdrawn_deleted_or_altered(scene: Scene) -> None:
    envelope = scene.sealed()
    evidence = scene.evidence(envelope)
    with pytest.raises(ActivationDenied, match="absent or withdrawn"):
        authorize(dataclasses.replace(evidence, waivers={}), scene.world.anchor, NOW)
    altered = {sha256(envelope): envelope.replace(b"signatures", b"Signatures")}
    with pytest.raises(TrustError, match="altered"):
        authorize(dataclasses.replace(evidence, waivers=altered), scene.world.anchor, NOW)


@pytest.mark.parametrize(
    "assertion",
    [
        "size(plan.unmet) == 0",
        "suite.core.rate >= params.floor && size(plan.unmet) == 0",
        "suite.core.rate >= params.floor && sandbox.level >= ISOLATION_NAMESPACE",
        "suite.core.rate >= params.floor && context.production",
        "suite.core.rate >= params.floor // whatever plan.unmet says",
    ],
)
def test_an_integrity_trust_or_isolation_rule_by_a_harmless_name(assertion: str) -> None:
    """What a rule asserts decides, not what it is called."""
    scene = Scene.make(policy_of({**TASK, "assert": assertion}))
    saw = scene.verdict().results[0].saw
    waiver = dataclasses.replace(
        scene.waiver(saw={name: value for name, value in saw.items() if value is not None}), envelope=sha256(b"w")
    )
    record = scene.world.record(scene.observation())
    verdict = evaluate(scene.policy, record.observations, scene.world.lock.digest)
    assert verdict.outcome is Outcome.FAIL
    assert waiver.accepts(saw), "nothing else stands in its way"
    after = waive(scene.policy, verdict, [waiver], circumstances=scene.world.lock.circumstances, now=scene.now)
    assert after.outcome is Outcome.FAIL


def test_an_isolation_rule_hidden_in_a_guard() -> None:
    guarded = {**TASK, "when": "sandbox.level < ISOLATION_VM", "assert": "suite.core.rate > 1.0"}
    always = {"id": "always", "assert": "suite.core.rate > 0.0", "why": "w"}
    for when, outcome in ((guarded["when"], Outcome.FAIL), ("!context.production", Outcome.PASS)):
        scene = Scene.make(policy_of({**guarded, "when": when}, always))
        saw = {name: value for name, value in scene.verdict().results[0].saw.items() if value is not None}
        if outcome is Outcome.FAIL:
            with pytest.raises(TrustError, match=r"sandbox\.level, which no waiver reaches"):
                scene.verdict(scene.sealed(scene.waiver(saw=saw)))
        else:
            assert scene.verdict(scene.sealed(scene.waiver(saw=saw))).outcome is outcome


def test_a_waived_rule_without_its_waiver_in_the_certificate(scene: Scene) -> None:
    """Resealed by the authority's own key, past every check of issue()."""
    envelope = scene.sealed()
    evidence = scene.evidence(envelope)
    notes = "https://w3id.org/peft-assay/certification/v1"
    changes = (
        lambda p: p["predicate"][notes].update(waivers=[]),
        lambda p: p["predicate"][notes].pop("waivers"),
        lambda p: p["predicate"][notes]["outcomeByRule"].update(task="PASS"),
        lambda p: p["predicate"][notes]["waivers"].append(p["predicate"][notes]["waivers"][0]),
        lambda p: p["predicate"][notes]["waivers"][0].update(rule="other"),
    )
    for change in changes:
        forged = (resealed(evidence.certificates[0], change, scene.world.authority),)
        with pytest.raises(TrustError, match="waivers are not those"):
            authorize(dataclasses.replace(evidence, certificates=forged), scene.world.anchor, NOW)


def test_a_waiver_of_other_values_put_in_its_place(scene: Scene) -> None:
    """A real waiver, for what an earlier run saw, named by a certificate over a later one."""
    right, wrong = scene.sealed(), scene.sealed(scene.waiver(saw={"suite.core.rate": 0.7}))
    evidence = scene.evidence(right)
    for other, says in (
        (wrong, "something else than was observed"),
        (scene.sealed(scene.waiver(rule="other")), "another adapter or rule"),
        (scene.sealed(scene.waiver(artifact=sha256(b"other"))), "another adapter or rule"),
        (scene.sealed(scene.waiver(circumstances=sha256(b"elsewhere"))), "another deployment"),
        (scene.sealed(scene.waiver(at=NOW + HOUR)), "not in force"),
        (scene.sealed(scene.waiver(saw={"suite.core.rate": 0.8, "suite.core.n": 1})), "something else"),
    ):
        refused_at_the_gate(scene, other, says, evidence)


def test_an_observation_or_a_clearance_passed_off_as_a_waiver(scene: Scene) -> None:
    refused_at_the_gate(scene, scene.observation(), "not pinned for this role")
    hold = Revocation(Scope.ADAPTER, scene.world.artifact.digest, "x", NOW - HOUR)
    refused_at_the_gate(scene, scene.world.lift(hold), f"not {WAIVER}")


@pytest.mark.parametrize("part", ["another value", "no waiver", "one too many", "ended", "another rule"])
def test_the_authority_signs_no_verdict_whose_waivers_it_does_not_find_in_order(scene: Scene, part: str) -> None:
    envelope = scene.sealed()
    good = scene.opened(envelope)
    waivers = {
        "another value": [dataclasses.replace(good, saw={"suite.core.rate": 0.7})],
        "no waiver": [],
        "one too many": [good, scene.opened(scene.sealed(scene.waiver(reason="again")))],
        "ended": [dataclasses.replace(good, expires=scene.now)],
        "another rule": [dataclasses.replace(good, rule="other")],
    }[part]
    with pytest.raises(TrustError):
        scene.certificate(scene.observation(), envelope, waivers=waivers)


def test_a_rule_cannot_be_called_waived_without_a_waiver() -> None:
    for outcome, waiver in ((Outcome.WAIVED, None), (Outcome.PASS, sha256(b"w")), (Outcome.FAIL, sha256(b"w"))):
        with pytest.raises(ValueError, match="exactly a waived rule"):
            RuleResult("task", outcome, "a", "", {}, "", waiver)


def refused_at_the_gate(scene: Scene, waiver: bytes, says: str, evidence: Any = None) -> None:
    """A certificate that names `waiver` for the rule, resealed by the authority."""
    right = scene.sealed()
    evidence = evidence or scene.evidence(right)
    authorize(evidence, scene.world.anchor, NOW)

    def name_it(payload: dict[str, Any]) -> None:
        notes = payload["predicate"]["https://w3id.org/peft-assay/certification/v1"]
        notes["waivers"][0]["digest"]["sha256"] = sha256(waiver).removeprefix("sha256:")

    forged = (resealed(evidence.certificates[0], name_it, scene.world.authority),)
    at_hand: dict[Digest, bytes] = {**evidence.waivers, sha256(waiver): waiver}
    with pytest.raises((TrustError, ActivationDenied), match=says):
        authorize(dataclasses.replace(evidence, certificates=forged, waivers=at_hand), scene.world.anchor, NOW)


def resealed(envelope: bytes, change: Any, sealer: RoleSealer) -> bytes:
    import base64

    payload = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    change(payload)
    return sealer.seal(payload)
