"""In-toto statements as values: the URIs, and the view of verified bytes.

URIs are permanent identifiers under w3id.org (docs/reference/statements.md has the schemas). A field may be added
within a version; what a field means never changes within one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peft_assay.core.digest import Digest

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
VSA = "https://slsa.dev/verification_summary/v1"
OBSERVATION = "https://w3id.org/peft-assay/behavioural-observation/v1"
ANSWERS = "https://w3id.org/peft-assay/answers/v1"
REVOCATIONS = "https://w3id.org/peft-assay/revocations/v1"
SUITE = "https://w3id.org/peft-assay/suite/v1"
"""Predicate of an owner's signature over a suite's two files."""
CERTIFICATION = "https://w3id.org/peft-assay/certification/v1"
"""Name of the one extension object inside our VSA: informative (attempts, oldest observation), never permissive."""
ADMISSIBLE = "PEFT_ASSAY_ADMISSIBLE"
"""The verified level that our VSA carries."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A view of signed bytes: `fields` were parsed from exactly `payload`, after its signature was verified."""

    payload: bytes
    envelope: Digest
    """sha256 of the whole envelope's bytes: how other statements refer to this one."""
    predicate_type: str
    subject: Digest
    """The single subject's sha256."""
    predicate: Mapping[str, Any]
    keyids: tuple[str, ...]
    """Keys whose signatures were verified."""
