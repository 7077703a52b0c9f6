"""Which revocations touch a certification: one answer for issuing and for the gate."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peft_assay.core.artifact import Artifact
from peft_assay.core.certificate import Revocation, Scope
from peft_assay.core.context import Lock
from peft_assay.core.digest import Digest


@dataclass(frozen=True, slots=True)
class Certifiable:
    """All that a certification of `artifact` under `lock` stands on."""

    artifact: Artifact
    lock: Lock
    policy: Digest | None
    """Of the certificate; None where none is known, for the lock names the policy too."""
    certificates: frozenset[str]
    """Envelopes of every certificate for (artifact, lock): one of them withdrawn holds back the others too, or
    certifying again would lift the hold."""
    keyids: frozenset[str]
    """The authority's and the sandboxes' keys."""


def touching(revocations: Sequence[Revocation], subject: Certifiable) -> tuple[Revocation, ...]:
    """Those of `revocations` that withdraw `subject`, in list order."""
    return tuple(entry for entry in revocations if entry.target in _targets(entry.scope, subject))


def lifting(entry: Revocation) -> str:
    """The next step of somebody who meets `entry`; ``TARGET`` stands for the adapter they asked about."""
    what = "TARGET" if entry.scope is Scope.ADAPTER else f"{entry.target} --scope {entry.scope.value}"
    return f"only an approver ends this: peft-assay revoke --lift {what} --reason ..."


def lifting_function(entry: Revocation) -> str:
    """Return the next step for the owner of an adapter with the function that `entry` withdrew under other bytes."""
    return (
        f"only an approver ends this: peft-assay revoke --lift {entry.target} --scope {entry.scope.value} --reason ..."
    )


def _targets(scope: Scope, subject: Certifiable) -> frozenset[str]:
    match scope:
        case Scope.CERTIFICATE:
            return subject.certificates
        case Scope.ADAPTER:
            return frozenset({subject.artifact.digest})
        case Scope.WEIGHTS:
            return frozenset(file.sha256 for file in subject.artifact.files)
        case Scope.KEY:
            return subject.keyids
        case _:  # policy, suite, base: whatever the lock names
            policy = () if subject.policy is None else (subject.policy,)
            return frozenset({*policy, *_digests(subject.lock.document)})


def _digests(document: Any) -> Iterator[str]:
    """Every text of the lock as a digest: what is withdrawn as policy, suite or base is so wherever the lock has it."""
    if isinstance(document, str):
        yield document if document.startswith("sha256:") else f"sha256:{document}"
    elif isinstance(document, Mapping):
        for child in document.values():
            yield from _digests(child)
    elif isinstance(document, Sequence):
        for child in document:
            yield from _digests(child)
