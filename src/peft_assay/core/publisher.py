"""Publishers: the keys by which a consumer knows who published an adapter."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PublisherKeys:
    """Names that the consumer gave, each with a public key in PEM (SubjectPublicKeyInfo)."""

    pem: Mapping[str, bytes] = field(default_factory=dict)
