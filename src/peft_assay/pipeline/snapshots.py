"""`rights snapshot` and `rights drift`: ask the Hub about a lineage once, keep it by content, and ask again later."""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import StorageError, UsageError
from peft_assay.core.rights import Metadata, NodeKind
from peft_assay.intake.fetching import Tell
from peft_assay.intake.metadata import RepositoryKind, describe, is_repository
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.lineage import card_of, lineage, texts
from peft_assay.pipeline.adoption import adopt, adopted_snapshot
from peft_assay.pipeline.deployment import Clock, Deployment, utc_now
from peft_assay.pipeline.standing import SNAPSHOT_VERSION, read_snapshot
from peft_assay.trust.snapshots import AdoptedSnapshot

MAX_REPOSITORIES = 64
"""A hostile card may name any number of them."""
Key = tuple[RepositoryKind, str]


@dataclass(frozen=True, slots=True)
class Taken:
    """A snapshot, and what is different from the one before."""

    digest: Digest
    repositories: tuple[Metadata, ...]
    previous: Digest | None
    changes: tuple[str, ...]


def take(deployment: Deployment, subject: StaticSubject, *, clock: Clock, tell: Tell) -> Taken:
    """Asks about every repository of the lineage and adopts what they say as what `subject` is judged by.

    Raises StorageError when one cannot be asked (a snapshot with holes would take facts back), UsageError without
    huggingface_hub.
    """
    found = ask(subject, tell=tell)
    unreachable = [" ".join(key) for key, metadata in found.items() if metadata.status == "unreachable"]
    if unreachable:
        raise StorageError(
            f"could not be asked: {', '.join(unreachable[:5])}",
            where=subject.artifact.digest,
            next_step="check the network and HF_ENDPOINT, then run it again (nothing was adopted); or, once you read "
            "their terms, name the licences in peft-assay.yaml: rights.datasets, context.base.licence",
        )
    previous, before = _adopted(deployment, subject)
    for metadata in found.values():
        for content in (metadata.files or {}).values():
            deployment.workspace.blobs.put(content)
    document = manifest(subject.artifact.digest, found)
    digest = sha256(document)
    if digest != previous:
        adopt(deployment, document, AdoptedSnapshot(subject.artifact.digest, digest, clock()))
    return Taken(digest, tuple(found.values()), previous, () if previous is None else tuple(changes(before, found)))


def drift(deployment: Deployment, subject: StaticSubject, *, tell: Tell) -> Taken:
    """Asks again and says what is different now; keeps and adopts nothing.

    Raises UsageError when nothing was ever adopted.
    """
    deployment.look(utc_now())
    previous, before = _adopted(deployment, subject)
    if previous is None:
        artifact = subject.artifact.digest
        raise UsageError(
            "there is no snapshot to compare with", where=artifact, next_step=f"peft-assay rights snapshot {artifact}"
        )
    found = ask(subject, tell=tell)
    digest = sha256(manifest(subject.artifact.digest, found))
    return Taken(digest, tuple(found.values()), previous, tuple(changes(before, found)))


def ask(subject: StaticSubject, *, tell: Tell) -> dict[tuple[str, str], Metadata]:
    """What the Hub says of every base and dataset of the lineage, bases of bases included, sorted by kind and id."""
    waiting: deque[Key] = deque(_first(subject))
    found: dict[tuple[str, str], Metadata] = {}
    while waiting and len(found) < MAX_REPOSITORIES:
        kind, name = waiting.popleft()
        if (kind, name) in found or not is_repository(name):
            continue
        found[kind, name] = metadata = describe(kind, name, tell=tell)
        if kind == "model":
            card = card_of(metadata)
            waiting.extend(("model", other) for other in texts(card.get("base_model")))
            waiting.extend(("dataset", other) for other in texts(card.get("datasets")))
    return dict(sorted(found.items()))


def _first(subject: StaticSubject) -> Iterator[Key]:
    """What the adapter itself and the context name; an earlier snapshot's nodes may be none any more."""
    itself = replace(subject, context=replace(subject.context, metadata={}))
    for node in lineage(itself).nodes:
        if node.kind is NodeKind.BASE:
            yield "model", node.id
        elif node.kind is NodeKind.DATASET:
            yield "dataset", node.id


def _adopted(deployment: Deployment, subject: StaticSubject) -> tuple[Digest | None, dict[tuple[str, str], Metadata]]:
    previous = adopted_snapshot(deployment, subject.artifact.digest)
    return previous, {} if previous is None else read_snapshot(deployment.workspace, previous)


def manifest(artifact: Digest, found: Mapping[tuple[str, str], Metadata]) -> bytes:
    """The canonical bytes of a snapshot; its digest is over every byte that was read."""
    return canonical_bytes(
        {
            "apiVersion": SNAPSHOT_VERSION,
            "artifact": artifact,
            "repositories": [
                {
                    "kind": metadata.kind,
                    "id": metadata.id,
                    "status": metadata.status,
                    "revision": metadata.revision,
                    "gating": metadata.gating,
                    "files": [
                        {"path": path, "size": len(content), "sha256": sha256(content)}
                        for path, content in sorted((metadata.files or {}).items())
                    ],
                }
                for metadata in found.values()
            ],
        }
    )


def changes(before: Mapping[tuple[str, str], Metadata], now: Mapping[tuple[str, str], Metadata]) -> Iterator[str]:
    """What is different, one line each: repositories, their state, gating, licence, revision and texts."""
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        name = " ".join(key)
        if old is None or new is None:
            yield f"{name}: {'is new in the lineage' if old is None else 'is no longer in the lineage'}"
            continue
        for what, was, became in _differences(old, new):
            yield f"{name}: {what}: {was} -> {became}"


def _differences(old: Metadata, new: Metadata) -> Iterator[tuple[str, str, str]]:
    if old.status != new.status:
        yield "status", old.status, new.status
        if new.status != "found":
            return
    pairs = (
        ("gating", old.gating, new.gating),
        ("licence", _licence(old), _licence(new)),
        ("revision", str(old.revision), str(new.revision)),
    )
    yield from (pair for pair in pairs if pair[1] != pair[2])
    files = (old.files or {}, new.files or {})
    for path in sorted(files[0].keys() | files[1].keys()):
        one, other = files[0].get(path), files[1].get(path)
        if one != other:
            yield path, _short(one), _short(other)


def _short(content: bytes | None) -> str:
    return "absent" if content is None else sha256(content)[:19]


def _licence(metadata: Metadata) -> str:
    return ", ".join(texts(card_of(metadata).get("license"))) or "not declared"
