"""A Sigstore of one's own for tests: authority, certificate log, transparency log and timestamp authority, real keys.

Everything that a verifier checks is really signed. What is built by hand is what services build: the precertificate's
timestamp (RFC 6962 3.2), the log's leaves, proofs and checkpoints (RFC 6962 2.1, C2SP signed notes) and timestamp
tokens (RFC 3161).
"""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import rfc8785
from asn1crypto import algos, cms, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from peft_assay.core.artifact import Artifact
from peft_assay.trust.publisher import resource_list

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
START = datetime(2020, 1, 1, tzinfo=UTC)
ISSUER = "https://token.actions.example"
SUBJECT = "https://github.example/acme/adapters/.github/workflows/release.yml@refs/heads/main"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
ROOT = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
OIDC_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
BUILD_SIGNER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.9")
OIDC_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")

Key = ec.EllipticCurvePrivateKey
Document = dict[str, Any]


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def spki(key: Key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_id(key: Key) -> bytes:
    """Id of a log (RFC 6962 3.2), and of an issuer in a precertificate's timestamp."""
    return hashlib.sha256(spki(key)).digest()


def signed(key: Key, message: bytes) -> bytes:
    return key.sign(message, ec.ECDSA(hashes.SHA256()))


def pre_authentication(kind: str, payload: bytes) -> bytes:
    """What a DSSE signature is over."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def usage(**on: bool) -> x509.KeyUsage:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**(dict.fromkeys(names, False) | on))


def named(common_name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "test"), x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    )


def builder(key: Any, subject: x509.Name, issuer: x509.Name, start: datetime, end: datetime) -> x509.CertificateBuilder:
    """`key` is the public key that is certified."""
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


@dataclass
class Authority:
    """A certificate authority: root, and one intermediate that issues."""

    name: str = "fulcio"
    start: datetime = START
    end: datetime = NOW + 4000 * DAY
    root_key: Key = field(default_factory=new_key)
    key: Key = field(default_factory=new_key)

    def __post_init__(self) -> None:
        name = named(f"{self.name} root")
        self.root = (
            builder(self.root_key.public_key(), name, name, self.start, self.end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
            .add_extension(usage(key_cert_sign=True, crl_sign=True), critical=True)
            .sign(self.root_key, hashes.SHA256())
        )
        self.certificate = (
            builder(self.key.public_key(), named(self.name), name, self.start, self.end)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root_key.public_key()), False)
            .sign(self.root_key, hashes.SHA256())
        )

    @property
    def chain(self) -> list[x509.Certificate]:
        return [self.certificate, self.root]

    def leaf(self, key: Any, subject: x509.Name, start: datetime, end: datetime) -> x509.CertificateBuilder:
        """A certificate that this authority may sign with `key` once it has its extensions."""
        return builder(key, subject, self.certificate.subject, start, end).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )


def subtree(leaves: list[bytes]) -> bytes:
    """Merkle tree hash (RFC 6962 2.1)."""
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + subtree(leaves[:split]) + subtree(leaves[split:])).digest()


def audit_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """Merkle audit path (RFC 6962 2.1.1)."""
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*audit_path(index, leaves[:split]), subtree(leaves[split:])]
    return [*audit_path(index - split, leaves[split:]), subtree(leaves[:split])]


@dataclass
class TransparencyLog:
    """A Rekor-like log that already has entries of others."""

    key: Key = field(default_factory=new_key)
    before: tuple[bytes, ...] = tuple(b'{"entry":%d}' % number for number in range(5))
    after: tuple[bytes, ...] = (b'{"entry":6}', b'{"entry":7}')
    origin: str = "rekor.example - 1"

    def checkpoint(self, size: int, root: bytes) -> str:
        note = f"{self.origin}\n{size}\n{b64(root)}\n"
        raw = key_id(self.key)[:4] + signed(self.key, note.encode())
        return f"{note}\n\u2014 rekor.example {b64(raw)}\n"

    def entry(self, kind: str, version: str, body: bytes, at: datetime | None) -> Document:
        """The entry as it stands in a bundle; without `at` there is no promise of inclusion and no time (Rekor v2)."""
        leaves = [*self.before, body, *self.after]
        index = len(self.before)
        root = subtree(leaves)
        document: Document = {
            "logIndex": str(index),
            "logId": {"keyId": b64(key_id(self.key))},
            "kindVersion": {"kind": kind, "version": version},
            "inclusionProof": {
                "logIndex": str(index),
                "rootHash": b64(root),
                "treeSize": str(len(leaves)),
                "hashes": [b64(each) for each in audit_path(index, leaves)],
                "checkpoint": {"envelope": self.checkpoint(len(leaves), root)},
            },
            "canonicalizedBody": b64(body),
        }
        if at is not None:
            document["integratedTime"] = str(int(at.timestamp()))
            document["inclusionPromise"] = {"signedEntryTimestamp": b64(self.promise(document))}
        return document

    def promise(self, entry: Document) -> bytes:
        """Signed entry timestamp over what `entry` says."""
        said = {
            "body": entry["canonicalizedBody"],
            "integratedTime": int(entry["integratedTime"]),
            "logID": base64.b64decode(entry["logId"]["keyId"]).hex(),
            "logIndex": int(entry["logIndex"]),
        }
        return signed(self.key, rfc8785.dumps(said))


@dataclass
class TimestampAuthority:
    """An authority whose tokens say when a signature was there (RFC 3161)."""

    authority: Authority = field(default_factory=lambda: Authority("tsa"))
    key: Key = field(default_factory=new_key)

    def __post_init__(self) -> None:
        self.certificate = (
            self.authority.leaf(self.key.public_key(), named("tsa leaf"), self.authority.start, self.authority.end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
            .sign(self.authority.key, hashes.SHA256())
        )

    @property
    def chain(self) -> list[x509.Certificate]:
        return [self.certificate, *self.authority.chain]

    def token(self, message: bytes, at: datetime) -> bytes:
        """DER of a TimeStampResp over `message`."""
        sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
        imprint = {"hash_algorithm": sha256, "hashed_message": hashlib.sha256(message).digest()}
        info = tsp.TSTInfo(
            {"version": "v1", "policy": "1.2.3", "message_imprint": imprint, "serial_number": 1, "gen_time": at}
        )
        der = self.certificate.public_bytes(Encoding.DER)
        own = asn1_x509.Certificate.load(der)
        identifier = {"certs": [{"cert_hash": hashlib.sha256(der).digest()}]}
        attributes = cms.CMSAttributes(
            [
                {"type": "content_type", "values": ["tst_info"]},
                {"type": "message_digest", "values": [hashlib.sha256(info.dump()).digest()]},
                {"type": "signing_certificate_v2", "values": [tsp.SigningCertificateV2(identifier)]},
            ]
        )
        signer = {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                "issuer_and_serial_number", {"issuer": own.issuer, "serial_number": own.serial_number}
            ),
            "digest_algorithm": sha256,
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
            "signature": signed(self.key, attributes.untag().dump()),
        }
        content = cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": [sha256],
                "encap_content_info": {"content_type": "tst_info", "content": cms.ParsableOctetString(info.dump())},
                "certificates": [own],
                "signer_infos": [signer],
            }
        )
        whole = {
            "status": {"status": "granted"},
            "time_stamp_token": {"content_type": "signed_data", "content": content},
        }
        return tsp.TimeStampResp(whole).dump()


@dataclass
class Sigstore:
    """All of it; `trusted_root` is what a consumer is given of it."""

    authority: Authority = field(default_factory=Authority)
    certificate_log: Key = field(default_factory=new_key)
    log: TransparencyLog = field(default_factory=TransparencyLog)
    timestamps: TimestampAuthority = field(default_factory=TimestampAuthority)
    url: str = "https://sigstore.example"

    def certificate(
        self,
        key: Any,
        *,
        at: datetime = NOW,
        issuer: str = ISSUER,
        subject: str = SUBJECT,
        certificate_log: Key | None = None,
        minutes: int = 10,
        more: Callable[[x509.CertificateBuilder], x509.CertificateBuilder] = lambda leaf: leaf,
        logged: bool = True,
        purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
    ) -> x509.Certificate:
        """What the authority gives whom `issuer` says to be `subject`, with its timestamp by the certificate log."""
        general = x509.RFC822Name(subject) if "://" not in subject else x509.UniformResourceIdentifier(subject)
        utf8 = b"\x0c" + bytes([len(issuer)]) + issuer.encode()
        leaf = more(
            self.authority.leaf(key, x509.Name([]), at, at + minutes * MINUTE)
            .add_extension(usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName([general]), critical=True)
            .add_extension(x509.UnrecognizedExtension(OIDC_ISSUER, issuer.encode()), critical=False)
            .add_extension(x509.UnrecognizedExtension(BUILD_SIGNER, b"\x0c\x01x"), critical=False)
            .add_extension(x509.UnrecognizedExtension(OIDC_ISSUER_V2, utf8), critical=False)
        )
        if not logged:
            return leaf.sign(self.authority.key, hashes.SHA256())
        before = leaf.sign(self.authority.key, hashes.SHA256()).tbs_certificate_bytes
        sct = self.certificate_timestamp(before, at, certificate_log or self.certificate_log)
        return leaf.add_extension(x509.UnrecognizedExtension(SCT_LIST, sct), critical=False).sign(
            self.authority.key, hashes.SHA256()
        )

    def certificate_timestamp(self, tbs: bytes, at: datetime, key: Key) -> bytes:
        """DER of a list of one signed certificate timestamp over the precertificate `tbs`."""
        milliseconds = int(at.timestamp() * 1000).to_bytes(8, "big")
        entry = key_id(self.authority.key) + len(tbs).to_bytes(3, "big") + tbs
        raw = signed(key, b"\x00\x00" + milliseconds + b"\x00\x01" + entry + b"\x00\x00")
        sct = b"\x00" + key_id(key) + milliseconds + b"\x00\x00" + b"\x04\x03" + len(raw).to_bytes(2, "big") + raw
        listed = len(sct).to_bytes(2, "big") + sct
        listed = len(listed).to_bytes(2, "big") + listed
        return b"\x04" + (b"\x81" if len(listed) > 127 else b"") + bytes([len(listed)]) + listed

    def trusted_root(self) -> Document:
        """Sigstore's TrustedRoot document."""

        def instance(key: Key) -> Document:
            return {
                "baseUrl": self.url,
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": b64(spki(key)),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": {"start": timestamp(START)},
                },
                "logId": {"keyId": b64(key_id(key))},
            }

        def authority(chain: list[x509.Certificate]) -> Document:
            return {
                "subject": {"organization": "test", "commonName": "test"},
                "uri": self.url,
                "certChain": {"certificates": [{"rawBytes": b64(each.public_bytes(Encoding.DER))} for each in chain]},
                "validFor": {"start": timestamp(START)},
            }

        return {
            "mediaType": ROOT,
            "tlogs": [instance(self.log.key)],
            "certificateAuthorities": [authority(self.authority.chain)],
            "ctlogs": [instance(self.certificate_log)],
            "timestampAuthorities": [authority(self.timestamps.chain)],
        }

    def sign(
        self,
        payload: bytes,
        *,
        key: Key | None = None,
        certificate: x509.Certificate | None = None,
        at: datetime = NOW + MINUTE,
        logged: Callable[[Document], Document] = lambda body: body,
        version: int = 1,
        payload_type: str = PAYLOAD_TYPE,
    ) -> Document:
        """The bundle that a signer of `payload` ends up with; `logged` is what the log got instead of the truth."""
        key = key or new_key()
        certificate = certificate or self.certificate(key.public_key())
        raw = signed(key, pre_authentication(payload_type, payload))
        envelope = {"payload": b64(payload), "payloadType": payload_type, "signatures": [{"sig": b64(raw)}]}
        body = logged(entry_body(envelope, certificate) if version == 1 else entry_body_v2(envelope, certificate))
        kind, number = (body["kind"], body["apiVersion"])
        material: Document = {
            "certificate": {"rawBytes": b64(certificate.public_bytes(Encoding.DER))},
            "tlogEntries": [self.log.entry(kind, number, rfc8785.dumps(body), at if version == 1 else None)],
        }
        if version == 2:
            token = {"signedTimestamp": b64(self.timestamps.token(raw, at))}
            material["timestampVerificationData"] = {"rfc3161Timestamps": [token]}
        return {"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope}


def timestamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def entry_body(envelope: Document, certificate: x509.Certificate) -> Document:
    """What Rekor v1 keeps of an envelope."""
    payload = base64.b64decode(envelope["payload"])
    verifier = b64(certificate.public_bytes(Encoding.PEM))
    return {
        "apiVersion": "0.0.1",
        "kind": "dsse",
        "spec": {
            "envelopeHash": {"algorithm": "sha256", "value": hashlib.sha256(rfc8785.dumps(envelope)).hexdigest()},
            "payloadHash": {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()},
            "signatures": [{"signature": envelope["signatures"][0]["sig"], "verifier": verifier}],
        },
    }


def entry_body_v2(envelope: Document, certificate: x509.Certificate) -> Document:
    """What Rekor v2 keeps of an envelope."""
    payload = base64.b64decode(envelope["payload"])
    message = pre_authentication(envelope["payloadType"], payload)
    verifier = {
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "x509Certificate": {"rawBytes": b64(certificate.public_bytes(Encoding.DER))},
    }
    return {
        "apiVersion": "0.0.2",
        "kind": "hashedrekord",
        "spec": {
            "hashedRekordV002": {
                "data": {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(message).digest())},
                "signature": {"content": envelope["signatures"][0]["sig"], "verifier": verifier},
            }
        },
    }


def statement_of(artifact: Artifact) -> Document:
    """What model-signing signs of `artifact`."""
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "a", "digest": {"sha256": artifact.oms_root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {
                "method": "files", "hash_type": "sha256", "allow_symlinks": False,
                "ignore_paths": ["model.sig", ".gitattributes", ".gitignore", ".git", ".github"],
            },
            "resources": resource_list(artifact),
        },
    }  # fmt: skip


def payload_of(artifact: Artifact) -> bytes:
    return json.dumps(statement_of(artifact)).encode()
