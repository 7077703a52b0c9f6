"""Sealers: a signing key bound to its role."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from securesystemslib.exceptions import Error as SigningError
from securesystemslib.signer import Signer, SSlibKey  # type: ignore[attr-defined]

from peft_assay.core.errors import TrustError
from peft_assay.core.protocols import Sealer
from peft_assay.trust.envelope import seal
from peft_assay.trust.keys import PublicKey, from_sslib, key_path, load_key_file
from peft_assay.trust.roles import EVERY_ROLE, ROLE_OF_PREDICATE, Role

URI_SCHEMES = ("hsm", "awskms", "gcpkms", "azurekms", "hv")
"""Signer URIs of securesystemslib for keys that leave no device; ``file2:`` is read here."""


@dataclass(frozen=True, slots=True)
class RoleSealer:
    """A `core.protocols.Sealer` that signs only the statements of its role."""

    role: Role
    public: PublicKey
    signer: Signer = field(repr=False)

    @property
    def keyid(self) -> str:
        """Identifier of the signing key, derived from the public key's content."""
        return self.public.keyid

    def seal(self, statement: Mapping[str, Any]) -> bytes:
        """Envelope over `statement`; raises TrustError for a statement that is another role's to make."""
        predicate_type = statement.get("predicateType")
        of_all = predicate_type in EVERY_ROLE
        if not (isinstance(predicate_type, str) and (of_all or ROLE_OF_PREDICATE.get(predicate_type) is self.role)):
            raise TrustError(f"a key of role {self.role.value} does not sign {predicate_type}")
        return seal(statement, self.signer)


def load_sealer(source: Path | str, role: Role, *, public: PublicKey | None = None) -> Sealer:
    """The sealer of `role`: from a folder of key files (Path), or by a signer URI (str).

    A URI that names a device needs the expected `public` key (the one the anchor pins); for a file it is optional and,
    when given, must match. Raises TrustError when the key is absent, unreadable, open to others or another one.
    """
    signer = load_key_file(key_path(source, role)) if isinstance(source, Path) else _by_uri(source, public)
    if not isinstance(signer.public_key, SSlibKey):
        raise TrustError("the signer's key is of a kind that is not supported", where=str(source))
    found = from_sslib(signer.public_key)
    if public is not None and found.keyid != public.keyid:
        raise TrustError(f"holds key {found.keyid}, not the expected {public.keyid}", where=str(source))
    if signer.public_key.keyid != found.keyid:
        raise TrustError("the signer names its key otherwise than by its content", where=str(source))
    return RoleSealer(role, found, signer)


def _by_uri(uri: str, public: PublicKey | None) -> Signer:
    scheme, _, rest = uri.partition(":")
    if scheme == "file2":
        path = Path(rest)
        if not path.is_absolute():
            raise TrustError("a file2: URI needs an absolute path", where=uri)
        return load_key_file(path)
    if scheme not in URI_SCHEMES:
        allowed = ", ".join(("file2", *URI_SCHEMES))
        raise TrustError(f"signer scheme {scheme!r} is not allowed", where=uri, next_step=f"use one of {allowed}")
    if public is None:
        raise TrustError("a device's key must be pinned before it is used", where=uri)
    try:
        return Signer.from_priv_key_uri(uri, public.sslib())
    except (SigningError, ValueError, OSError, ImportError) as error:
        raise TrustError(f"the signer cannot be used: {error}", where=uri) from None
