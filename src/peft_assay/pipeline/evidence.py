"""Collecting what the gate looks at. Nothing is believed here: the gate proves every byte of it anew."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from peft_assay.core.artifact import Artifact
from peft_assay.core.certificate import Certificate
from peft_assay.core.context import Lock
from peft_assay.core.digest import Digest, parse_digest, sha256
from peft_assay.core.errors import DocumentError, ObservationError, TrustError
from peft_assay.core.parse import parse_json
from peft_assay.core.statement import VSA
from peft_assay.gate.interface import Evidence
from peft_assay.pipeline.deployment import Deployment, process_id
from peft_assay.pipeline.project import Observed, build_lock, difference, observed_in
from peft_assay.pipeline.provenance import in_words
from peft_assay.pipeline.standing import certified_origin, standing_of
from peft_assay.sandbox.surroundings import files_digest, harness_program
from peft_assay.store.ledger import Kind
from peft_assay.store.workspace import Workspace
from peft_assay.trust.certification import certificate_of, notes_of
from peft_assay.trust.envelope import open_envelope
from peft_assay.trust.observations import ObservationRecord
from peft_assay.trust.roles import Role

_NOTHING = Observed(sha256(b""), {}, sha256(b""))


@dataclass(frozen=True, slots=True)
class Live:
    """What the serving process finds for itself: its base's state and its stack."""

    base_state: Digest
    stack: Mapping[str, str]


def gather(deployment: Deployment, artifact: Artifact, files: Mapping[str, bytes], live: Live | None) -> Evidence:
    """Everything about `artifact` that the gate needs, under the context as it is now.

    Without `live`, base state and stack are those that the certificate's own observations were made on: `verify` says
    what the gate would say on that base, and activation measures it again. Raises TrustError for altered evidence.
    """
    workspace = deployment.workspace
    check_kept(workspace, artifact)
    locks = workspace.certified_locks(artifact.digest)
    lock, observations = _lock_now(deployment, artifact, locks, live)
    state = lock.document["conditions"]["base"]["state"] if live is None else live.base_state
    certificates = workspace.certificates(artifact.digest, lock.digest)
    evidence = Evidence(
        artifact=artifact,
        files=files,
        lock=lock,
        context=deployment.project.context,
        base_state=state,
        certificates=certificates,
        observations=observations,
        revocations=None,
        mark=None,
        process_id=process_id(),
        other_locks=tuple(digest for digest in locks if digest != lock.digest),
        earlier=frozenset(
            sha256(envelope) for certified in locks for envelope in workspace.certificates(artifact.digest, certified)
        ),
    )
    return renewed(deployment, evidence)


def renewed(deployment: Deployment, evidence: Evidence) -> Evidence:
    """Return `evidence` with the parts that can change while an adapter is active: the list, its mark, waivers, the
    newest verdict.
    """
    mark, newest = deployment.mark(), deployment.revocations()
    artifact = evidence.artifact.digest
    return replace(
        evidence,
        revocations=None if newest is None else deployment.lists.envelope(newest),
        lists={} if newest is None else deployment.lists.behind(newest, None if mark is None else mark.list),
        mark=mark,
        waivers={sha256(envelope): envelope for envelope in deployment.workspace.waivers(artifact)},
        last_said=None if evidence.certificates else last_said(deployment, artifact, evidence.lock.digest),
    )


def _lock_now(
    deployment: Deployment, artifact: Artifact, locks: tuple[Digest, ...], live: Live | None
) -> tuple[Lock, Mapping[Digest, bytes]]:
    """The lock that the project resolves to now, and the observations of the certificates that speak of it."""
    standing = standing_of(deployment, artifact.digest, None)
    lock = build_lock(deployment.project, _with_live(_NOTHING, live), artifact.digest, standing)
    distrust: TrustError | None = None
    for certified in locks:
        observations: dict[Digest, bytes] = {}
        origin = certified_origin(deployment.workspace, certified)
        standing = standing if origin == standing.origin else standing_of(deployment, artifact.digest, origin)
        for certificate in deployment.workspace.certificates(artifact.digest, certified):
            try:
                for record, envelope in records_under(deployment, certificate):
                    observations[record.envelope] = envelope
                    observed = observed_in(record.conditions)
                    if observed is not None:
                        lock = build_lock(deployment.project, _with_live(observed, live), artifact.digest, standing)
            except TrustError as error:  # a key that is no longer pinned, say, spoils its own certificates only
                distrust = error
        if lock.digest == certified:
            return lock, observations
    if distrust is not None:
        raise distrust
    return _lock_judged(deployment, artifact, live) or lock, {}


def _lock_judged(deployment: Deployment, artifact: Artifact, live: Live | None) -> Lock | None:
    """Return the lock that `artifact` was last judged under, certified or not, where it is today's on the same base and
    stack; None where it is another, or cannot be read.
    """
    locks = [
        parse_digest(entry.happened["lock"])
        for entry in deployment.workspace.history()
        if entry.kind is Kind.VERDICT and entry.happened["artifact"] == artifact.digest
    ]
    if not locks:
        return None
    try:
        document = parse_json(deployment.workspace.blobs.get(locks[-1]), where=f"lock {locks[-1]}")
        observed = observed_in(document["conditions"])
    except (TrustError, DocumentError, KeyError, TypeError):
        return None
    if observed is None:
        return None
    standing = standing_of(deployment, artifact.digest, certified_origin(deployment.workspace, locks[-1]))
    lock = build_lock(deployment.project, _with_live(observed, live), artifact.digest, standing)
    return lock if lock.digest == locks[-1] else None


def _with_live(observed: Observed, live: Live | None) -> Observed:
    """`observed` with what can be measured here and now: always the harness and loading code, in a server all of it."""
    harness = installed_harness() or observed.harness
    if live is None:
        return replace(observed, harness=harness)
    return Observed(live.base_state, live.stack, harness, observed.judges)


@cache
def installed_harness() -> Digest | None:
    """Digest of the installed harness and loading code; None where only the gate is installed."""
    try:
        return files_digest(harness_program().folders)
    except ObservationError:
        return None


def check_kept(workspace: Workspace, artifact: Artifact) -> None:
    """Hash the files that the workspace keeps of `artifact`, if it was admitted there; raises TrustError for altered
    bytes.
    """
    if workspace.artifact(artifact.digest) is not None:
        for file in artifact.files:
            workspace.blobs.check(file.sha256)


def check_evidence(workspace: Workspace, record: ObservationRecord) -> None:
    """Hash the kept answers that observations were drawn from; raises TrustError for altered or absent ones."""
    for evidence in {item.evidence for item in record.observations.observations if item.evidence is not None}:
        workspace.blobs.check(evidence)


def records_under(deployment: Deployment, certificate: bytes) -> Iterator[tuple[ObservationRecord, bytes]]:
    """Each observation that a certificate's envelope rests on, verified; raises TrustError."""
    for digest in certificate_in(deployment, certificate).observations:
        observation = deployment.workspace.blobs.get(digest)
        record = deployment.record_of(observation)
        check_evidence(deployment.workspace, record)
        yield record, observation


def certificate_in(deployment: Deployment, envelope: bytes) -> Certificate:
    """The certificate in `envelope`, signed by a pinned authority key; raises TrustError."""
    keys = deployment.anchor.keys_of(Role.AUTHORITY)
    return certificate_of(open_envelope(envelope, keys, predicate_type=VSA))


def attempts_in(deployment: Deployment, envelope: bytes) -> int:
    """Return how many attempts a certificate counts, signed by a pinned authority key; raises TrustError."""
    keys = deployment.anchor.keys_of(Role.AUTHORITY)
    return notes_of(open_envelope(envelope, keys, predicate_type=VSA)).attempts


def last_said(deployment: Deployment, artifact: Digest, lock: Digest) -> str | None:
    """Return the last verdict about (artifact, lock) in the ledger: for messages; None when there is none."""
    said = [
        entry.happened["outcome"]
        for entry in deployment.workspace.history()
        if entry.kind is Kind.VERDICT and (entry.happened["artifact"], entry.happened["lock"]) == (artifact, lock)
    ]
    return said[-1] if said else None


def differences(deployment: Deployment, evidence: Evidence) -> tuple[str, ...]:
    """Paths at which the context now differs from the one last certified; empty when that is not known."""
    found: tuple[str, ...] | None = None
    for digest in evidence.other_locks:
        try:
            document = parse_json(deployment.workspace.blobs.get(digest), where=f"lock {digest}")
        except (TrustError, DocumentError):
            continue
        paths = difference(evidence.lock.document, document)
        if found is None or len(paths) < len(found):
            found = paths
    return in_words(found or ())
