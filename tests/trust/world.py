"""A small world with real keys, a real artifact and really signed statements, for tests of trust, certify and gate."""

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from securesystemslib.signer import CryptoSigner

from peft_assay.certify.issue import issue
from peft_assay.certify.revoke import next_list
from peft_assay.core.artifact import Artifact, File
from peft_assay.core.certificate import Revocation
from peft_assay.core.context import DeploymentContext, Engine, Lock
from peft_assay.core.digest import Digest, sha256
from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.core.policy import Policy, Rule
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.core.statement import OBSERVATION, REVOCATIONS, VSA
from peft_assay.core.verdict import Outcome, RuleResult, Verdict
from peft_assay.gate.interface import Evidence
from peft_assay.trust.anchor import PinnedKey, TrustAnchor
from peft_assay.trust.certification import certificate_of
from peft_assay.trust.envelope import open_envelope
from peft_assay.trust.keys import PublicKey, from_sslib
from peft_assay.trust.observations import ObservationAct, ObservationRecord, observation_document, observation_record_of
from peft_assay.trust.revocations import RevocationRecord, lift_document, revocation_record_of
from peft_assay.trust.roles import Role
from peft_assay.trust.sealer import RoleSealer

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FILES = {"adapter_config.json": b'{"peft_type": "LORA"}', "adapter_model.safetensors": b"weights" * 9}
BASE_STATE = sha256(b"base state")
SUITE = sha256(b"suite")
BASE_FILES = sha256(b"base files")


def artifact_of(files: dict[str, bytes]) -> Artifact:
    return Artifact(tuple(File(path, len(content), sha256(content)) for path, content in sorted(files.items())))


def sealer_of(role: Role, signer: CryptoSigner | None = None) -> RoleSealer:
    """A fresh key of `role` in memory."""
    signer = signer or CryptoSigner.generate_ed25519()
    return RoleSealer(role, from_sslib(signer.public_key), signer)


POLICY = Policy("default", sha256(b"policy"), (Rule("loads", "plan.unmet == []", "why", "next"),))


def lock_of(**conditions: Any) -> Lock:
    return Lock(
        {
            "apiVersion": "peft-assay/lock/v1",
            "policy": POLICY.digest,
            "conditions": {
                "base": {"state": BASE_STATE, "files": BASE_FILES},
                "suites": [{"id": "core", "digest": SUITE}],
                **conditions,
            },
        }
    )


LOCK = lock_of()
CONTEXT = DeploymentContext("ctx", "test", Engine("peft", "float32", None), None, {}, 30 * DAY, False, 0)


@dataclass
class World:
    """Keys of all roles and the statements that they sign."""

    sandbox: RoleSealer
    authority: RoleSealer
    approver: RoleSealer
    anchor: TrustAnchor
    artifact: Artifact
    files: dict[str, bytes]
    lock: Lock

    @classmethod
    def make(cls) -> "World":
        sealers = {role: sealer_of(role) for role in Role}
        keys = {role: (PinnedKey(sealer.public, development=False),) for role, sealer in sealers.items()}
        anchor = TrustAnchor(keys, False, 60 * DAY, 7 * DAY, IsolationLevel.PROCESS)
        return cls(
            sandbox=sealers[Role.SANDBOX],
            authority=sealers[Role.AUTHORITY],
            approver=sealers[Role.APPROVER],
            anchor=anchor,
            artifact=artifact_of(FILES),
            files=dict(FILES),
            lock=LOCK,
        )

    def pin(self, role: Role, *keys: PublicKey, development: bool = False) -> None:
        pinned = tuple(PinnedKey(key, development) for key in keys)
        self.anchor = dataclasses.replace(self.anchor, keys={**self.anchor.keys, role: pinned})

    def observation(self, *, sealer: RoleSealer | None = None, keyid: str | None = None, **changes: Any) -> bytes:
        sealer = sealer or self.sandbox
        act = ObservationAct(
            **{
                "artifact": self.artifact,
                "conditions": self.lock.document["conditions"],
                "attestation": {"level": 20},
                "started_at": NOW - HOUR,
                "finished_at": NOW - HOUR / 2,
                "attempt": 1,
                "observations": (ok("plan.unmet", (), by=ObservedBy.CHILD),),
                **changes,
            }
        )
        return sealer.seal(observation_document(act, keyid=keyid or sealer.keyid))

    def record(self, envelope: bytes) -> ObservationRecord:
        return observation_record_of(
            open_envelope(envelope, self.anchor.keys_of(Role.SANDBOX), predicate_type=OBSERVATION)
        )

    def verdict(self, outcome: Outcome = Outcome.PASS, **changes: Any) -> Verdict:
        result = RuleResult("loads", outcome, "plan.unmet == []", "", {}, "")
        whole = Verdict(self.artifact.digest, self.lock.digest, POLICY.digest, (result,))
        return dataclasses.replace(whole, **changes)

    def certificate(self, *observations: bytes, **changes: Any) -> bytes:
        return issue(
            **{
                "verdict": self.verdict(),
                "artifact": self.artifact,
                "lock": self.lock,
                "policy": POLICY,
                "observations": [self.record(envelope) for envelope in observations],
                "attempts": 1,
                "now": NOW - HOUR / 4,
                "maximum_age": 30 * DAY,
                "revocations": self.open_list(self.revocations()).list,
                "earlier": (),
                "files": self.files,
                "sealer": self.authority,
                **changes,
            }
        )

    def certificate_view(self, envelope: bytes) -> Any:
        return certificate_of(open_envelope(envelope, self.anchor.keys_of(Role.AUTHORITY), predicate_type=VSA))

    def revocations(self, *revoke: Revocation, previous: RevocationRecord | None = None, **changes: Any) -> bytes:
        return next_list(
            previous,
            **{
                "now": NOW - HOUR,
                "sealer": self.authority,
                "revoke": revoke,
                "approvers": self.anchor.keys_of(Role.APPROVER),
                **changes,
            },
        )

    def open_list(self, envelope: bytes) -> RevocationRecord:
        statement = open_envelope(envelope, self.anchor.keys_of(Role.AUTHORITY), predicate_type=REVOCATIONS)
        return revocation_record_of(statement, self.anchor.keys_of(Role.APPROVER))

    def lift(self, revocation: Revocation, *, sealer: RoleSealer | None = None) -> bytes:
        return (sealer or self.approver).seal(lift_document(revocation, reason="checked again", at=NOW - HOUR))

    def evidence(self, **changes: Any) -> Evidence:
        """Everything in order: the gate says yes to this."""
        if "certificates" not in changes or "observations" not in changes:
            observation = self.observation()
            changes.setdefault("certificates", (self.certificate(observation),))
            changes.setdefault("observations", {sha256(observation): observation})
        return Evidence(
            **{
                "artifact": self.artifact,
                "files": self.files,
                "lock": self.lock,
                "context": CONTEXT,
                "base_state": BASE_STATE,
                "revocations": self.revocations(),
                "mark": None,
                "process_id": 4711,
                **changes,
            }
        )


def named(name: str) -> Digest:
    """A digest of nothing that exists."""
    return sha256(name.encode())


def facts(*observations: Observation) -> tuple[Observation, ...]:
    return tuple(sorted(observations, key=lambda observation: observation.name))
