"""DSSE envelopes: seal a statement, and open one to a view of exactly the bytes whose signature was verified.

The DSSE protocol itself (pre-authentication encoding, signatures) is securesystemslib's. Beyond it an envelope has one
spelling here: canonical JSON, standard base64, exactly `threshold` signatures, low-S ECDSA. Without that, anybody could
re-spell a revoked certificate into one whose digest no revocation names.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import Error as SigningError
from securesystemslib.signer import Signature, Signer  # type: ignore[attr-defined]

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import DocumentError, TrustError
from peft_assay.core.parse import MAX_DOCUMENT_BYTES, parse_json
from peft_assay.core.statement import PAYLOAD_TYPE, REVOCATIONS, STATEMENT_TYPE, Statement
from peft_assay.trust.keys import ED25519, PublicKey
from peft_assay.trust.wire import Sha256, Wire, read_predicate

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order n of NIST P-256 (SEC 2, 2.4.2): of the two valid signatures (r, s) and (r, n - s) only the smaller s counts."""


_MAX_BYTES = {REVOCATIONS: 64 << 20}
"""The limit for documents that may be larger than others: a revocation list carries the fingerprints of withdrawn
adapters."""


class _Signature(Wire):
    keyid: str
    sig: str


class _Envelope(Wire):
    payload: str
    payloadType: str
    signatures: list[_Signature]


class _Subject(Wire):
    name: str
    digest: Sha256


class _Statement(Wire):
    subject: list[_Subject]
    predicateType: str
    predicate: dict[str, Any]


def seal(statement: Mapping[str, Any], signer: Signer) -> bytes:
    """Envelope over the canonical bytes of `statement`, signed once.

    Raises TrustError when in-toto's own bindings refuse the statement or the signer fails.
    """
    payload = _read_by_in_toto(statement)
    try:
        envelope = Envelope(payload, PAYLOAD_TYPE, {})
        signature = envelope.sign(signer)
        sig = _low_s(bytes.fromhex(signature.signature), signer.public_key.scheme)
    except (SigningError, ValueError, OSError) as error:
        raise TrustError(f"the statement could not be signed: {error}") from None
    return canonical_bytes(
        {
            "payload": _b64(envelope.payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"keyid": signature.keyid, "sig": _b64(sig)}],
        }
    )


def open_envelope(
    content: bytes, keys: Iterable[PublicKey], *, predicate_type: str, threshold: int = 1, where: str = "envelope"
) -> Statement:
    """The statement in `content`, after `threshold` different keys of `keys` verified it.

    Raises TrustError when anything is malformed, unsigned, signed by others, or of another predicate type.
    """
    wire, payload = _wrapped(content, predicate_type, where)
    keyids = _verify(payload, wire.signatures, tuple(keys), threshold, where)
    return _statement(content, payload, keyids, predicate_type, where)


def open_linked(content: bytes, digest: Digest, *, predicate_type: str, where: str = "envelope") -> Statement:
    """Return the statement in `content`, which verified bytes name by `digest`; its own signature is not checked.

    Raises TrustError when these are other bytes, or malformed.
    """
    if sha256(content) != digest:
        raise TrustError("these are not the bytes that the digest names", where=where)
    wire, payload = _wrapped(content, predicate_type, where)
    keyids = tuple(sorted(signature.keyid for signature in wire.signatures))
    return _statement(content, payload, keyids, predicate_type, where)


def _most(predicate_type: str) -> int:
    return _MAX_BYTES.get(predicate_type, MAX_DOCUMENT_BYTES)


def _wrapped(content: bytes, predicate_type: str, where: str) -> tuple[_Envelope, bytes]:
    """Return the envelope in its one spelling, and its payload."""
    wire = read_predicate(_Envelope, _parse(content, where, _most(predicate_type)), where=where)
    if canonical_bytes(wire.model_dump()) != content:
        raise TrustError("the envelope is not spelt canonically", where=where)
    if wire.payloadType != PAYLOAD_TYPE:
        raise TrustError(f"payload type is not {PAYLOAD_TYPE}", where=where)
    return wire, _unb64(wire.payload, where)


def _statement(content: bytes, payload: bytes, keyids: tuple[str, ...], predicate_type: str, where: str) -> Statement:
    document = _parse(payload, where, _most(predicate_type))
    if document.pop("_type", None) != STATEMENT_TYPE:
        raise TrustError(f"the payload is not an {STATEMENT_TYPE}", where=where)
    statement = read_predicate(_Statement, document, where=where)
    if statement.predicateType != predicate_type:
        raise TrustError(f"predicate type is {statement.predicateType!r}, not {predicate_type}", where=where)
    if len(statement.subject) != 1:
        raise TrustError(f"{len(statement.subject)} subjects, not exactly one", where=where)
    return Statement(
        payload=payload,
        envelope=sha256(content),
        predicate_type=statement.predicateType,
        subject=statement.subject[0].digest.digest,
        predicate=statement.predicate,
        keyids=keyids,
    )


def statement_document(
    name: str, subject_hex: str, predicate_type: str, predicate: Mapping[str, Any]
) -> dict[str, Any]:
    """An in-toto Statement v1 about one subject."""
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": subject_hex}}],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def _verify(
    payload: bytes, signatures: list[_Signature], keys: tuple[PublicKey, ...], threshold: int, where: str
) -> tuple[str, ...]:
    by_id = {key.keyid: key for key in keys}
    if threshold < 1 or len(signatures) != threshold or len({s.keyid for s in signatures}) != threshold:
        raise TrustError(f"{len(signatures)} signatures, not one each of exactly {threshold} keys", where=where)
    verifiable = {}
    for signature in signatures:
        key = by_id.get(signature.keyid)
        if key is None:
            raise TrustError(f"signed by key {signature.keyid!r}, which is not pinned for this role", where=where)
        sig = _unb64(signature.sig, where)
        if not _is_low_s(sig, key.scheme):
            raise TrustError("the signature is not spelt canonically", where=where)
        verifiable[key.keyid] = Signature(key.keyid, sig.hex())
    try:
        Envelope(payload, PAYLOAD_TYPE, dict(verifiable)).verify([by_id[k].sslib() for k in verifiable], threshold)
    except (SigningError, ValueError, TypeError, KeyError):
        raise TrustError("the signature does not verify: content or signature was altered", where=where) from None
    return tuple(sorted(verifiable))


def _low_s(signature: bytes, scheme: str) -> bytes:
    if scheme == ED25519:
        return signature
    r, s = decode_dss_signature(signature)
    return encode_dss_signature(r, min(s, P256_ORDER - s))


def _is_low_s(signature: bytes, scheme: str) -> bool:
    try:
        return _low_s(signature, scheme) == signature
    except ValueError:
        return False


def _parse(content: bytes, where: str, max_bytes: int) -> dict[str, Any]:
    try:
        document = parse_json(content, where=where, max_bytes=max_bytes, canonical_numbers=True)
    except DocumentError as error:
        raise TrustError(error.message, where=where) from None
    if not isinstance(document, dict):
        raise TrustError("not a JSON object", where=where)
    return document


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _unb64(text: str, where: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise TrustError("not standard base64", where=where) from None
    if _b64(content) != text:
        raise TrustError("not the one base64 spelling of its bytes", where=where)
    return content


def _read_by_in_toto(statement: Mapping[str, Any]) -> bytes:
    """The canonical bytes; refuses what in-toto's own reader would refuse, so that others can read what we sign.

    To it a predicate is any JSON object (protobuf's Struct, some fifty levels deep; `open_envelope` reads fewer), and
    canonical bytes are JSON: only the names in it are shown, which takes a fraction of the time.
    """
    from google.protobuf import json_format  # type: ignore[import-untyped]
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement as InTotoStatement

    try:
        payload = canonical_bytes(statement)
        predicate = statement.get("predicate")
        shown = {**statement, "predicate": dict.fromkeys(predicate)} if isinstance(predicate, Mapping) else statement
        InTotoStatement.copy_from_pb(json_format.ParseDict(shown, statement_pb2.Statement())).validate()
    except (ValueError, json_format.ParseError) as error:
        raise TrustError(f"not a valid in-toto statement: {error}") from None
    return payload
