"""A publisher's signature over an adapter: an OpenSSF model-signing bundle, made with a key.

The bundle is a Sigstore bundle with a DSSE envelope over an in-toto statement whose predicate lists every file with its
digest (https://github.com/ossf/model-signing-spec). Two things are stricter here than in the library that writes it,
because there the signer decides them: a signer may leave files out of the list (``ignore_paths``; what is then put in
their place verifies all the same), and certificates are taken whatever their dates. Here every file of the artifact but
the signature itself must be listed, with no other beside, and certificates are not taken at all: they are told of as
not verified.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from peft_assay.core.artifact import Artifact
from peft_assay.core.digest import hex_of
from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json
from peft_assay.core.publisher import PublisherKeys

BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
MAX_BUNDLE_BYTES = 4 << 20
NOT_COVERED = frozenset({".gitattributes", ".gitignore"})
"""What the library leaves out by default and no loader reads."""
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384(), "secp521r1": hashes.SHA512(),
}  # fmt: skip


class Signature(StrEnum):
    """What became of a signature."""

    NONE = "none"
    VALID = "valid"
    UNKNOWN_KEY = "unknown-key"
    NOT_VERIFIED = "not-verified"
    """Made with a certificate, which needs a trust root that nobody has given."""
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who signed, as far as it is known."""

    signature: Signature
    name: str | None
    """The consumer's name for the key; only of a valid signature."""
    reason: str


class _Invalid(Exception):
    pass


def signature_file(artifact: Artifact) -> str | None:
    """Path of the bundle in `artifact`: ``model.sig`` at its top, else the only other ``*.sig`` there."""
    found = [file.path for file in artifact.files if file.path.endswith(".sig") and "/" not in file.path]
    if "model.sig" in found:
        return "model.sig"
    return found[0] if len(found) == 1 else None


def verify_publisher(bundle: bytes, artifact: Artifact, path: str, keys: PublisherKeys) -> Publisher:
    """What the bundle that lies at `path` in `artifact` says of exactly these files. Never raises for its content."""
    try:
        document = parse_json(bundle, where=path, max_bytes=MAX_BUNDLE_BYTES)
        payload, raw = _signed(document)
        material = _member(document, "verificationMaterial", dict)
        if "publicKey" not in material:
            return Publisher(Signature.NOT_VERIFIED, None, "signed with a certificate: no trust root to verify it with")
        name = _signer(keys, payload, raw)
        if name is None:
            return Publisher(Signature.UNKNOWN_KEY, None, "signed by none of the keys under publishers")
        _check_files(_resources(payload, path), artifact, path)
    except DocumentError as error:
        return Publisher(Signature.INVALID, None, str(error))
    except _Invalid as problem:
        return Publisher(Signature.INVALID, None, str(problem))
    return Publisher(Signature.VALID, name, f"every file of it is signed by {name}")


def _member(document: Any, name: str, kind: type) -> Any:
    value = document.get(name) if isinstance(document, dict) else None
    if type(value) is not kind:
        raise _Invalid(f"{name} is missing or of another type")
    return value


def _signed(document: Any) -> tuple[bytes, bytes]:
    """Payload and signature of the bundle's one envelope."""
    if not str(_member(document, "mediaType", str)).startswith(BUNDLE_TYPE):
        raise _Invalid("mediaType is not a Sigstore bundle's")
    envelope = _member(document, "dsseEnvelope", dict)
    if envelope.get("payloadType") != PAYLOAD_TYPE:
        raise _Invalid("payloadType is not in-toto's")
    signatures = _member(envelope, "signatures", list)
    if len(signatures) != 1:
        raise _Invalid("there is not exactly one signature")
    return _base64(_member(envelope, "payload", str)), _base64(_member(signatures[0], "sig", str))


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _Invalid("is not base64") from None


def _signer(keys: PublisherKeys, payload: bytes, raw: bytes) -> str | None:
    """The name of the key that made the signature (DSSE v1 pre-authentication encoding)."""
    message = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    for name, pem in sorted(keys.pem.items()):
        key = read_key(pem, where=f"publishers.{name}")
        try:
            key.verify(raw, message, ec.ECDSA(_HASHES[key.curve.name]))
        except InvalidSignature:
            continue
        return name
    return None


def read_key(pem: bytes, *, where: str) -> ec.EllipticCurvePublicKey:
    """The key in `pem`; raises DocumentError unless it is one that model-signing signs with (P-256, P-384, P-521)."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise DocumentError("is not a public key in PEM", where=where) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _HASHES:
        raise DocumentError("is not a key that model-signing signs with (P-256, P-384, P-521)", where=where)
    return key


def fingerprint(pem: bytes, *, where: str) -> str:
    """sha256 of the key's DER form, as ``sha256:<hex>``; raises DocumentError."""
    der = read_key(pem, where=where).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return "sha256:" + hashlib.sha256(der).hexdigest()


def _resources(payload: bytes, path: str) -> dict[str, str]:
    """Signed file names with their digests."""
    statement = parse_json(payload, where=f"{path}: payload", max_bytes=MAX_BUNDLE_BYTES)
    if _member(statement, "_type", str) != STATEMENT_TYPE or statement.get("predicateType") != PREDICATE_TYPE:
        raise _Invalid("what is signed is not a model-signing statement")
    found: dict[str, str] = {}
    for resource in _member(_member(statement, "predicate", dict), "resources", list):
        if _member(resource, "algorithm", str) != "sha256":
            raise _Invalid("a file is listed by another digest than sha256")
        name = _member(resource, "name", str)
        if name in found:
            raise _Invalid(f"{name!r} is listed twice")
        found[name] = _member(resource, "digest", str)
    return found


def _check_files(signed: dict[str, str], artifact: Artifact, path: str) -> None:
    here = {file.path: hex_of(file.sha256) for file in artifact.files if file.path != path}
    for name in sorted(here.keys() - signed.keys() - NOT_COVERED):
        raise _Invalid(f"{name} is not covered by the signature: anybody could have put it there")
    for name in sorted(signed):
        if name not in here:
            raise _Invalid(f"{name} is signed and not here")
        if signed[name] != here[name]:
            raise _Invalid(f"{name} is not the file that was signed")


def resource_list(artifact: Artifact) -> list[dict[str, str]]:
    """The artifact's files as model-signing lists them, from the one pass that intake made."""
    return [{"name": f.path, "digest": hex_of(f.sha256), "algorithm": "sha256"} for f in artifact.files]
