"""Publishers whose public key is pinned."""

import hashlib
from collections.abc import Mapping

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from peft_assay.core.errors import DocumentError
from peft_assay.trust.signatures import CURVES, Envelope, Signature, Signed, Unproven


def verify_key(envelope: Envelope, pem: Mapping[str, bytes]) -> Signed:
    """`envelope` by the first of the keys in `pem` that signed it; raises Unproven, DocumentError for a bad key."""
    for name, key in sorted(pem.items()):
        if envelope.is_signed_by(read_key(key, where=f"publishers.{name}")):
            return Signed(envelope.payload, name, name)
    raise Unproven(Signature.UNKNOWN_KEY, "signed by none of the keys under publishers")


def read_key(pem: bytes, *, where: str) -> ec.EllipticCurvePublicKey:
    """The key in `pem`; raises DocumentError unless it is one that model-signing signs with (P-256, P-384, P-521)."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise DocumentError("is not a public key in PEM", where=where) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise DocumentError("is not a key that model-signing signs with (P-256, P-384, P-521)", where=where)
    return key


def fingerprint(pem: bytes, *, where: str) -> str:
    """sha256 of the key's DER form, as ``sha256:<hex>``; raises DocumentError."""
    der = read_key(pem, where=where).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "sha256:" + hashlib.sha256(der).hexdigest()
