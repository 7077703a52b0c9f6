"""What a publisher's bundle can turn out to be, and the signed content that all ways to sign have in common.

The bundle is a Sigstore bundle with one DSSE envelope (https://github.com/ossf/model-signing-spec,
https://github.com/secure-systems-lab/dsse). Ways differ in what says whose the signing key is: `publisher_keys` (the
key is pinned), `keyless` (a Sigstore) and `x509` (an authority of the consumer's).
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
CURVES: Mapping[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512(),
}  # fmt: skip
"""Curves that model-signing signs with, each with its digest."""
MAX_REASON = 400
"""Characters of what a library says of a hostile bundle."""


class Signature(StrEnum):
    """What became of a signature."""

    NONE = "none"
    VALID = "valid"
    UNKNOWN_KEY = "unknown-key"
    UNKNOWN_AUTHORITY = "unknown-authority"
    """Made with a certificate that none of the declared authorities issued."""
    UNKNOWN_IDENTITY = "unknown-identity"
    """Made with a certificate of a declared authority, for somebody who is not declared."""
    NOT_VERIFIED = "not-verified"
    """Made with a certificate, and there is nothing to verify it with."""
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Signed:
    """A payload whose signature holds, and whose it is."""

    payload: bytes
    name: str
    """The consumer's name for who signed."""
    who: str
    """The same with what the certificate says of them, where there is one."""


class Unproven(Exception):
    """Why nobody is known to have signed."""

    def __init__(self, signature: Signature, reason: str) -> None:
        super().__init__(reason)
        self.signature = signature
        self.reason = reason if len(reason) <= MAX_REASON else reason[: MAX_REASON - 1] + "…"


def invalid(reason: str) -> Unproven:
    """The refusal of what says something other than what a valid bundle says."""
    return Unproven(Signature.INVALID, reason)


@dataclass(frozen=True, slots=True)
class Envelope:
    """Payload and signature of the bundle's one envelope."""

    payload: bytes
    signature: bytes

    @property
    def message(self) -> bytes:
        """What is signed (DSSE v1 pre-authentication encoding)."""
        return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(self.payload), self.payload)

    def is_signed_by(self, key: ec.EllipticCurvePublicKey) -> bool:
        """Whether `key`, which is on one of CURVES, made the signature."""
        try:
            key.verify(self.signature, self.message, ec.ECDSA(CURVES[key.curve.name]))
        except InvalidSignature:
            return False
        return True


def envelope_of(document: Any) -> Envelope:
    """The envelope of the bundle `document`; raises Unproven."""
    if not str(member(document, "mediaType", str)).startswith(BUNDLE_TYPE):
        raise invalid("mediaType is not a Sigstore bundle's")
    envelope = member(document, "dsseEnvelope", dict)
    if envelope.get("payloadType") != PAYLOAD_TYPE:
        raise invalid("payloadType is not in-toto's")
    signatures = member(envelope, "signatures", list)
    if len(signatures) != 1:
        raise invalid("there is not exactly one signature")
    return Envelope(decode(member(envelope, "payload", str)), decode(member(signatures[0], "sig", str)))


def member(document: Any, name: str, kind: type) -> Any:
    """`document[name]`, which is a `kind`; raises Unproven."""
    value = document.get(name) if isinstance(document, dict) else None
    if type(value) is not kind:
        raise invalid(f"{name} is missing or of another type")
    return value


def decode(text: str) -> bytes:
    """The bytes that the base64 `text` stands for; raises Unproven."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid("is not base64") from None
