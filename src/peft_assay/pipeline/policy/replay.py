"""`verify --replay`: every decision in the ledger once more, from the policy and the observations it was made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peft_assay.core.context import Lock
from peft_assay.core.digest import Digest, parse_digest, sha256
from peft_assay.core.parse import parse_json
from peft_assay.core.verdict import Verdict
from peft_assay.core.vocabulary import vocabulary
from peft_assay.core.waiver import Waiver
from peft_assay.evaluate.document import load_policy
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.evaluate.interface import CompiledPolicy
from peft_assay.evaluate.waive import waive
from peft_assay.pipeline.deployment import Deployment, utc_now
from peft_assay.pipeline.evidence import check_evidence, check_kept
from peft_assay.store.ledger import Entry, Kind
from peft_assay.trust.roles import Role
from peft_assay.trust.times import parse_time
from peft_assay.trust.waivers import open_waiver


@dataclass(frozen=True, slots=True)
class Unlike:
    """A decision that came out otherwise."""

    seq: int
    artifact: Digest
    recorded: str
    replayed: str


@dataclass(frozen=True, slots=True)
class Replay:
    """What became of the ledger's decisions."""

    reproduced: int
    unlike: tuple[Unlike, ...]
    without_grounds: int
    """Decisions of earlier versions, which did not record the policy's document and the observations."""


def replay(deployment: Deployment) -> Replay:
    """Evaluates every recorded verdict again; raises TrustError for altered or absent evidence."""
    deployment.look(utc_now())
    policies: dict[tuple[str, tuple[str, ...]], CompiledPolicy] = {}
    reproduced, without, unlike = 0, 0, []
    for entry in deployment.workspace.history():
        if entry.kind is not Kind.VERDICT:
            continue
        if "grounds" not in entry.happened:
            without += 1
            continue
        verdict = _again(deployment, entry, policies)
        if (verdict.outcome.value, verdict.digest) == (entry.happened["outcome"], entry.happened["results"]):
            reproduced += 1
        else:
            artifact = parse_digest(entry.happened["artifact"])
            unlike.append(Unlike(entry.seq, artifact, entry.happened["outcome"], verdict.outcome.value))
    return Replay(reproduced, tuple(unlike), without)


def _again(
    deployment: Deployment, entry: Entry, policies: dict[tuple[str, tuple[str, ...]], CompiledPolicy]
) -> Verdict:
    grounds: Mapping[str, Any] = entry.happened["grounds"]
    record = deployment.record_of(deployment.workspace.blobs.get(parse_digest(grounds["observations"])))
    check_kept(deployment.workspace, record.artifact)
    check_evidence(deployment.workspace, record)
    lock = parse_digest(entry.happened["lock"])
    document = parse_json(deployment.workspace.blobs.get(lock), where=f"lock {lock}")
    suites = tuple(sorted(document["conditions"]["suites"]))
    key = grounds["policy"], suites
    if key not in policies:
        content = deployment.workspace.blobs.get(parse_digest(grounds["policy"]))
        policies[key] = load_policy(content, where=f"policy {sha256(content)}", vocabulary=vocabulary(suites))
    verdict = evaluate(policies[key], record.observations, lock)
    return waive(
        policies[key],
        verdict,
        [_waiver(deployment, parse_digest(digest)) for digest in grounds.get("waivers", ())],
        circumstances=Lock(document).circumstances,
        now=parse_time(entry.at),
    )


def _waiver(deployment: Deployment, digest: Digest) -> Waiver:
    """A waiver that was in force then, whether or not it was withdrawn since."""
    return open_waiver(deployment.workspace.blobs.get(digest), deployment.anchor.keys_of(Role.APPROVER))
