"""What the deployment knows of one artifact's rights: its origin, what was declared, snapshotted and cleared."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from peft_assay.core.digest import Digest, parse_digest, sha256
from peft_assay.core.errors import DocumentError, TrustError
from peft_assay.core.parse import parse_json, validate
from peft_assay.core.rights import Clearance, Metadata
from peft_assay.intake.interface import Admitted
from peft_assay.observe.interface import Resolve, StaticContext, StaticSubject
from peft_assay.observe.static.files import is_licence
from peft_assay.pipeline.adoption import adopted_snapshot
from peft_assay.pipeline.decisions import about, standing_decisions
from peft_assay.pipeline.deployment import Deployment
from peft_assay.pipeline.origin import declaration_for
from peft_assay.pipeline.project import Project, Standing
from peft_assay.pipeline.resolution import resolver
from peft_assay.store.workspace import Workspace
from peft_assay.trust.clearances import open_clearance

SNAPSHOT_VERSION = "peft-assay/rights-snapshot/v1"
MAX_FILE_BYTES = 1 << 20
"""Larger cards and licence texts are not read."""


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SnapshotFile(_Closed):
    """One file of a repository, kept as a blob."""

    path: str
    size: int
    sha256: str


class SnapshotRepository(_Closed):
    """One repository as it was found."""

    kind: Literal["model", "dataset"]
    id: str
    status: Literal["found", "absent", "gated", "unreachable"]
    revision: str | None
    gating: Literal["no", "auto", "manual", "unknown"]
    files: list[SnapshotFile]


class Snapshot(_Closed):
    """The manifest: repositories by kind and id. No time stands in it, so that the same facts have one digest."""

    apiVersion: Literal["peft-assay/rights-snapshot/v1"]
    artifact: str
    repositories: list[SnapshotRepository]


def standing_of(deployment: Deployment, artifact: Digest, origin: str | None) -> Standing:
    """Everything about the rights of `artifact` that the context's lock has to name."""
    declaration = declaration_for(deployment.project.document.declarations, origin)
    return Standing(
        origin=origin if declaration is not None else None,
        declaration=declaration,
        snapshot=adopted_snapshot(deployment, artifact),
        clearances=clearances_of(deployment, artifact),
    )


def clearances_of(deployment: Deployment, artifact: Digest) -> tuple[Clearance, ...]:
    """Clearances of `artifact` that a pinned approver signed and nobody withdrew, by time, in force or not."""
    return about(artifact, standing_decisions(deployment, deployment.workspace.clearances(artifact), open_clearance))


def certified_origin(workspace: Workspace, lock: Digest) -> str | None:
    """Where the artifact came from when it was certified under `lock`, as that lock has it."""
    try:
        document = parse_json(workspace.blobs.get(lock), where=f"lock {lock}")
    except (TrustError, DocumentError):
        return None
    match document:
        case {"rights": {"origin": str(origin)}}:
            return origin
    return None


def read_snapshot(workspace: Workspace, digest: Digest) -> dict[tuple[str, str], Metadata]:
    """The repositories of a kept snapshot by kind and id; raises TrustError when a byte of it is altered or absent."""
    manifest = parse_snapshot(workspace.blobs.get(digest), where=f"rights snapshot {digest}")
    return {
        (repository.kind, repository.id): Metadata(
            repository.kind, repository.id, repository.status, repository.revision, repository.gating,
            {file.path: workspace.blobs.get(parse_digest(file.sha256)) for file in repository.files},
        )
        for repository in manifest.repositories
    }  # fmt: skip


def parse_snapshot(content: bytes, *, where: str) -> Snapshot:
    """The manifest in `content`; raises TrustError when it is not one."""
    try:
        return validate(Snapshot, parse_json(content, where=where), where=where)
    except DocumentError as error:
        raise TrustError(error.message, where=where) from None


def base_metadata(project: Project) -> Metadata:
    """What the folder of the served base says of itself; the lock names every byte of that folder."""
    files = {}
    for file in project.base.files:
        if (file.path == "README.md" or is_licence(file.path)) and file.size <= MAX_FILE_BYTES:
            content = (project.base_path / file.path).read_bytes()
            if sha256(content) == file.sha256:
                files[file.path] = content
    return Metadata("model", "the served base", "found", files=files)


def static_subject(
    project: Project,
    admitted: Admitted,
    *,
    standing: Standing | None = None,
    metadata: Mapping[tuple[str, str], Metadata] | None = None,
    now: datetime | None = None,
) -> StaticSubject:
    """What the static probes look at: the bytes, and what the context declares of engine and rights."""
    rights, held = project.document.rights, standing or Standing()
    return StaticSubject(
        artifact=admitted.artifact,
        files=admitted.contents,
        sightings=admitted.sightings,
        context=StaticContext(
            engine=project.context.engine,
            datasets=rights.datasets,
            base_licence=project.document.context.base.licence,
            licence_overrides={parse_digest(k): v.licence for k, v in rights.declared.items() if v.licence is not None},
            dataset_overrides={parse_digest(key): tuple(value.datasets) for key, value in rights.declared.items()},
            commercial_use=rights.commercialUse,
            publishers=project.publishers,
            base=project.served,
            task=project.document.context.base.task,
            locked=project.locked,
            resolve=_resolver(project),
            production=project.context.production,
            maximum_age=project.context.maximum_age,
            lengths=project.context.lengths,
            declaration=held.declaration,
            metadata=metadata or {},
            base_metadata=base_metadata(project),
            snapshot=held.snapshot,
            clearances=held.clearances,
            now=now,
        ),
    )


def _resolver(project: Project) -> Resolve | None:
    stack = project.document.context.stack
    return resolver(project.locked or {}) if stack is not None and stack.resolve else None


def observed_subject(
    deployment: Deployment, admitted: Admitted, origin: str | None, now: datetime
) -> tuple[Standing, StaticSubject]:
    """What the deployment holds of `admitted`, and it as the probes look at it at `now`."""
    standing = standing_of(deployment, admitted.artifact.digest, origin)
    kept = {} if standing.snapshot is None else read_snapshot(deployment.workspace, standing.snapshot)
    return standing, static_subject(deployment.project, admitted, standing=standing, metadata=kept, now=now)
