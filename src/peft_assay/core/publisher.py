"""Publishers: by what a consumer knows who published an adapter."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a certificate must name: a mail address or URI; of an authority of one's own a DNS name or subject, too."""

    text: str
    pattern: bool = False
    """Whether `text` is an RE2 pattern that the whole name must match, and not the name itself."""


@dataclass(frozen=True, slots=True)
class Keyless:
    """Somebody for whom an issuer vouches, under a Sigstore whose root of trust the consumer gave."""

    trust_root: bytes
    """Sigstore's TrustedRoot document (JSON)."""
    issuer: str
    """URL of the OpenID Connect issuer, exactly as certificates name it."""
    identity: Identity


@dataclass(frozen=True, slots=True)
class Certified:
    """Somebody whom an authority certifies that the consumer takes for this publisher."""

    authorities: bytes
    """X.509 certificates of the authorities (PEM)."""
    identity: Identity


@dataclass(frozen=True, slots=True)
class Publishers:
    """Names that the consumer gave; each is under one of the three."""

    pem: Mapping[str, bytes] = field(default_factory=dict)
    """Public keys in PEM (SubjectPublicKeyInfo)."""
    keyless: Mapping[str, Keyless] = field(default_factory=dict)
    certified: Mapping[str, Certified] = field(default_factory=dict)
