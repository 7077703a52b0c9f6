"""A publisher's signature over an adapter: an OpenSSF model-signing bundle.

The bundle has a DSSE envelope over an in-toto statement whose predicate lists every file with its digest
(https://github.com/ossf/model-signing-spec). Two things are stricter here than in the library that writes it, because
there the signer decides them: a signer may leave files out of the list (``ignore_paths``; what is then put in their
place verifies all the same), and certificates of an authority are taken whatever their dates. Here every file of the
artifact but the signature itself must be listed, with no other beside, and a certificate must have been valid when it
signed, or, where nothing trusted says when that was, must be valid now.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peft_assay.core.artifact import Artifact
from peft_assay.core.digest import hex_of
from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json
from peft_assay.core.publisher import Publishers
from peft_assay.trust.keyless import verify_keyless
from peft_assay.trust.publisher_keys import verify_key
from peft_assay.trust.signatures import Signature, Signed, Unproven, envelope_of, invalid, member
from peft_assay.trust.x509 import verify_x509

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
MAX_BUNDLE_BYTES = 4 << 20
NOT_COVERED = frozenset({".gitattributes", ".gitignore"})
"""What the library leaves out by default and no loader reads."""
_WAYS = frozenset({"publicKey", "certificate", "x509CertificateChain"})
"""What a bundle can say of the signing key: a hint, a certificate of a Sigstore, one of another authority."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who signed, as far as it is known."""

    signature: Signature
    name: str | None
    """The consumer's name for who signed; only of a valid signature."""
    reason: str


def signature_file(artifact: Artifact) -> str | None:
    """Path of the bundle in `artifact`: ``model.sig`` at its top, else the only other ``*.sig`` there."""
    found = [file.path for file in artifact.files if file.path.endswith(".sig") and "/" not in file.path]
    if "model.sig" in found:
        return "model.sig"
    return found[0] if len(found) == 1 else None


def verify_publisher(
    bundle: bytes, artifact: Artifact, path: str, publishers: Publishers, now: datetime | None
) -> Publisher:
    """What the bundle that lies at `path` in `artifact` says of exactly these files. Never raises for its content.

    `now` is when certificates that no trusted clock dates must be valid; None: none of them is.
    """
    try:
        document = parse_json(bundle, where=path, max_bytes=MAX_BUNDLE_BYTES)
        signed = _signed(bundle, document, publishers, now)
        _check_files(_resources(signed.payload, path), artifact, path)
    except DocumentError as error:
        return Publisher(Signature.INVALID, None, str(error))
    except Unproven as problem:
        return Publisher(problem.signature, None, problem.reason)
    return Publisher(Signature.VALID, signed.name, f"every file of it is signed by {signed.who}")


def _signed(bundle: bytes, document: Any, publishers: Publishers, now: datetime | None) -> Signed:
    """The payload, and which of `publishers` signed it in the way that the bundle says."""
    envelope = envelope_of(document)
    material = member(document, "verificationMaterial", dict)
    ways = _WAYS & material.keys()
    if len(ways) != 1:
        raise invalid(f"verificationMaterial has not exactly one of {', '.join(sorted(_WAYS))}")
    if "publicKey" in ways:
        return verify_key(envelope, publishers.pem)
    if "certificate" in ways:
        return verify_keyless(bundle, publishers.keyless)
    return verify_x509(envelope, material, publishers.certified, now)


def _resources(payload: bytes, path: str) -> dict[str, str]:
    """Signed file names with their digests."""
    statement = parse_json(payload, where=f"{path}: payload", max_bytes=MAX_BUNDLE_BYTES)
    if member(statement, "_type", str) != STATEMENT_TYPE or statement.get("predicateType") != PREDICATE_TYPE:
        raise invalid("what is signed is not a model-signing statement")
    found: dict[str, str] = {}
    for resource in member(member(statement, "predicate", dict), "resources", list):
        if member(resource, "algorithm", str) != "sha256":
            raise invalid("a file is listed by another digest than sha256")
        name = member(resource, "name", str)
        if name in found:
            raise invalid(f"{name!r} is listed twice")
        found[name] = member(resource, "digest", str)
    return found


def _check_files(signed: dict[str, str], artifact: Artifact, path: str) -> None:
    here = {file.path: hex_of(file.sha256) for file in artifact.files if file.path != path}
    for name in sorted(here.keys() - signed.keys() - NOT_COVERED):
        raise invalid(f"{name} is not covered by the signature: anybody could have put it there")
    for name in sorted(signed):
        if name not in here:
            raise invalid(f"{name} is signed and not here")
        if signed[name] != here[name]:
            raise invalid(f"{name} is not the file that was signed")


def resource_list(artifact: Artifact) -> list[dict[str, str]]:
    """The artifact's files as model-signing lists them, from the one pass that intake made."""
    return [{"name": f.path, "digest": hex_of(f.sha256), "algorithm": "sha256"} for f in artifact.files]
