"""Protocols by which the pipeline gives a room what it needs from another."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from peft_assay.core.certificate import Activation
from peft_assay.core.digest import Digest


class BlobStore(Protocol):
    """Content-addressed, write-once bytes; re-hashed on every read."""

    def put(self, content: bytes) -> Digest:
        """Stores `content` durably and gives its digest. Raises StorageError."""

    def get(self, digest: Digest) -> bytes:
        """The bytes whose sha256 is `digest`. Raises TrustError when absent or altered."""

    def has(self, digest: Digest) -> bool:
        """Whether the blob is present (its content is checked by `get`)."""


class Sealer(Protocol):
    """Signs a statement in one role; the key itself stays inside."""

    @property
    def keyid(self) -> str:
        """Identifier of the signing key, derived from the public key's content."""

    def seal(self, statement: Mapping[str, Any]) -> bytes:
        """DSSE envelope bytes over the canonical bytes of `statement`."""


class RevocationTransport(Protocol):
    """Where revocation lists travel: the workspace's own table first, other carriers later. It is never believed."""

    def newest(self) -> bytes | None:
        """Envelope of the newest list, not yet verified; None when there is none."""

    def publish(self, envelope: bytes, *, sequence: int, issued_at: datetime, at: datetime) -> None:
        """Makes `envelope`, just signed, the newest list. Raises StorageError when its sequence is taken."""


class Authorizer(Protocol):
    """The gate, as runtime sees it."""

    @property
    def task(self) -> str:
        """Return the kind of model that the lock's base is, as in `context.base.task`."""

    def base_documents(self) -> Mapping[str, bytes]:
        """Return config.json and, where there is one, generation_config.json of the base whose files the lock names.

        Raises ActivationDenied when the files are no longer the locked ones.
        """

    def stand(self) -> None:
        """Check that the permission still holds; raises ActivationDenied, TrustError, StorageError.

        Called every few seconds while an adapter answers, so it reads changed files only.
        """

    def authorize(self, files: Mapping[str, bytes], base_state: Digest) -> Activation:
        """Permission for exactly these bytes on a base with this state; raises ActivationDenied or TrustError."""
