"""Publishers with a certificate of an authority: what model-signing signs so, by the authorities that are declared."""

import base64
import json
from datetime import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from peft_assay.core.errors import DocumentError
from peft_assay.core.publisher import Certified, Identity, Publishers
from peft_assay.intake.admit import admit
from peft_assay.trust.identities import compiled
from peft_assay.trust.signatures import Signature
from peft_assay.trust.x509 import read_authorities
from trust.publisher.adapter_folder import is_taken, make_folder, put, verified
from trust.publisher.sigstore_world import (
    BUNDLE,
    DAY,
    NOW,
    PAYLOAD_TYPE,
    Authority,
    b64,
    named,
    new_key,
    payload_of,
    pre_authentication,
    usage,
)
from trust.publisher.sigstore_world import signed as raw_signature

NAME = x509.UniformResourceIdentifier("https://acme.example/releases")
AUTHORITY = Authority("acme")


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_folder(tmp_path)


def pinned(*authorities: x509.Certificate, identity: Identity | None = None) -> Publishers:
    pem = b"".join(each.public_bytes(Encoding.PEM) for each in authorities or (AUTHORITY.root,))
    return Publishers(certified={"acme": Certified(pem, identity or Identity(NAME.value))})


def leaf(
    key,
    *,
    authority: Authority = AUTHORITY,
    start: datetime = NOW - DAY,
    end: datetime = NOW + DAY,
    names: tuple[x509.GeneralName, ...] = (NAME,),
    signs: bool | None = True,
    purposes: tuple[x509.ObjectIdentifier, ...] = (ExtendedKeyUsageOID.CODE_SIGNING,),
) -> x509.Certificate:
    builder = authority.leaf(key.public_key(), named("publisher"), start, end)
    if signs is not None:
        builder = builder.add_extension(usage(digital_signature=signs, key_encipherment=not signs), critical=True)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return builder.sign(authority.key, hashes.SHA256())


def sign(folder: Path, certificate: x509.Certificate, key, others=(AUTHORITY.certificate,), **material) -> None:
    """A bundle as model-signing writes it, but for certificates that it does not take."""
    payload = payload_of(admit(folder).artifact)
    raw = raw_signature(key, pre_authentication(PAYLOAD_TYPE, payload)) if isinstance(key, type(new_key())) else b"x"
    chain = [{"rawBytes": b64(each.public_bytes(Encoding.DER))} for each in (certificate, *others)]
    envelope = {"payload": b64(payload), "payloadType": PAYLOAD_TYPE, "signatures": [{"sig": b64(raw)}]}
    material = {"x509CertificateChain": {"certificates": chain}, "tlogEntries": []} | material
    put(folder, {"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope})


def sign_with_library(folder: Path, certificate: x509.Certificate, key) -> Path:
    """Leaves the signature outside of the folder, and gives the path of the root."""
    signing = pytest.importorskip("model_signing", reason="needs model-signing (extra dev)")
    paths = {}
    for name, content in {
        "root": AUTHORITY.root.public_bytes(Encoding.PEM),
        "chain": AUTHORITY.certificate.public_bytes(Encoding.PEM),
        "leaf": certificate.public_bytes(Encoding.PEM),
        "key": key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    }.items():
        paths[name] = folder.parent / f"{name}.pem"
        paths[name].write_bytes(content)
    config = signing.signing.Config().use_certificate_signer(
        private_key=paths["key"], signing_certificate=paths["leaf"], certificate_chain=[paths["chain"]]
    )
    config.sign(folder, folder.parent / "model.sig")
    return paths["root"]


def library_accepts(folder: Path, root: Path) -> bool:
    signing = pytest.importorskip("model_signing", reason="needs model-signing (extra dev)")
    config = signing.verifying.Config().use_certificate_verifier(certificate_chain=[root])
    try:
        config.verify(folder, folder.parent / "model.sig")
    except Exception:
        return False
    return True


def put_beside(folder: Path) -> None:
    (folder / "model.sig").write_bytes((folder.parent / "model.sig").read_bytes())


def test_what_the_library_signs_is_verified_and_named(folder):
    key = new_key()
    root = sign_with_library(folder, leaf(key), key)
    assert library_accepts(folder, root)
    put_beside(folder)
    found = verified(folder, pinned())
    assert (found.signature, found.name) == (Signature.VALID, "acme"), found.reason
    assert found.reason == f"every file of it is signed by acme ({NAME.value})"
    (folder / "adapter_config.json").write_bytes(b"{}")
    assert verified(folder, pinned()).signature is Signature.INVALID


@pytest.mark.parametrize(("start", "end"), [(NOW - 9 * DAY, NOW - DAY), (NOW + DAY, NOW + 9 * DAY)])
def test_a_certificate_that_is_not_valid_now_is_taken_by_the_library_and_not_by_us(folder, start, end):
    """The library verifies at the certificate's own first moment, so that no certificate ever ends."""
    key = new_key()
    root = sign_with_library(folder, leaf(key, start=start, end=end), key)
    assert library_accepts(folder, root), "positive control"
    put_beside(folder)
    found = verified(folder, pinned())
    assert (found.signature, found.name) == (Signature.INVALID, None)
    assert "which is not now" in found.reason
    assert verified(folder, pinned(), start).signature is Signature.VALID


def test_a_certificate_for_web_servers_is_taken_by_the_library_and_not_by_us(folder):
    key = new_key()
    root = sign_with_library(folder, leaf(key, purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)), key)
    assert library_accepts(folder, root), "positive control"
    put_beside(folder)
    found = verified(folder, pinned())
    assert (found.signature, found.name) == (Signature.INVALID, None)
    assert "extendedKeyUsage" in found.reason


def test_a_certificate_for_any_purpose_is_for_signing_too(folder):
    key = new_key()
    sign(folder, leaf(key, purposes=()), key)
    assert verified(folder, pinned()).signature is Signature.VALID


def test_the_authority_that_is_declared_may_be_the_one_that_issues(folder):
    key = new_key()
    sign(folder, leaf(key), key, others=())
    assert verified(folder, pinned(AUTHORITY.certificate)).signature is Signature.VALID
    assert verified(folder, pinned(Authority().root, AUTHORITY.certificate)).signature is Signature.VALID
    found = verified(folder, pinned())
    assert (found.signature, found.name) == (Signature.UNKNOWN_AUTHORITY, None), "nothing leads to the root"


def test_an_authority_of_the_attacker_s_with_the_same_names(folder):
    key, forged = new_key(), Authority("acme")
    for others in ((forged.certificate,), (forged.certificate, forged.root), (AUTHORITY.certificate, AUTHORITY.root)):
        sign(folder, leaf(key, authority=forged), key, others=others)
        found = verified(folder, pinned())
        assert (found.signature, found.name) == (Signature.UNKNOWN_AUTHORITY, None)


def test_somebody_whom_the_authority_certified_for_something_else_certifies_nobody(folder):
    key, own = new_key(), new_key()
    mallory = Authority("acme")
    mallory.key, mallory.certificate = own, leaf(own)
    sign(folder, leaf(key, authority=mallory), key, others=(mallory.certificate, AUTHORITY.certificate))
    assert verified(folder, pinned()).signature is Signature.UNKNOWN_AUTHORITY


@pytest.mark.parametrize(
    ("names", "identity"),
    [
        ((x509.RFC822Name("ann@acme.example"),), Identity("ann@acme.example")),
        ((x509.DNSName("acme.example"), NAME), Identity(NAME.value)),
        ((NAME,), Identity(r"https://acme\.example/.+", pattern=True)),
    ],
)
def test_each_name_of_a_certificate_is_one(folder, names, identity):
    key = new_key()
    sign(folder, leaf(key, names=names), key)
    assert verified(folder, pinned(identity=identity)).signature is Signature.VALID


def test_a_certificate_without_alternative_names_is_known_by_its_whole_subject(folder):
    key = new_key()
    root = sign_with_library(folder, leaf(key, names=()), key)
    assert library_accepts(folder, root)
    put_beside(folder)
    assert verified(folder, pinned(identity=Identity("CN=publisher,O=test"))).signature is Signature.VALID
    for other in (Identity("CN=publisher"), Identity("publisher"), Identity("CN=publisher,O=test", pattern=True)):
        found = verified(folder, pinned(identity=other))
        assert (found.signature, found.name) == (Signature.UNKNOWN_IDENTITY, None)
        assert "CN=publisher,O=test" in found.reason
    sign(folder, leaf(key), key)
    found = verified(folder, pinned(identity=Identity("CN=publisher,O=test")))
    assert found.signature is Signature.UNKNOWN_IDENTITY, "where there are alternative names, they are the names"


@pytest.mark.parametrize(
    "identity",
    [Identity("https://acme.example"), Identity("publisher"), Identity("https://acme.example/", pattern=True)],
)
def test_another_name_is_nobody_whom_you_know(folder, identity):
    key = new_key()
    sign(folder, leaf(key), key)
    found = verified(folder, pinned(identity=identity))
    assert (found.signature, found.name) == (Signature.UNKNOWN_IDENTITY, None)
    assert NAME.value in found.reason


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"signs": False}, "keyUsage"),
        ({"signs": None}, "cannot be read"),
    ],
)
def test_a_certificate_that_is_not_for_this(folder, change, why):
    key = new_key()
    sign(folder, leaf(key, **change), key)
    found = verified(folder, pinned())
    assert (found.signature, found.name) == (Signature.INVALID, None)
    assert why in found.reason


def test_a_signature_by_another_key_than_the_certificate_s(folder):
    sign(folder, leaf(new_key()), new_key())
    found = verified(folder, pinned())
    assert (found.signature, found.name) == (Signature.INVALID, None)
    assert "did not sign it" in found.reason


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256K1())])
def test_a_key_that_model_signing_does_not_sign_with(folder, key):
    sign(folder, leaf(key), key)
    found = verified(folder, pinned())
    assert (found.signature, found.name) == (Signature.INVALID, None)
    assert "P-256" in found.reason


@pytest.mark.parametrize(
    ("chain", "why"),
    [
        ({}, "certificates is missing"),
        ({"certificates": []}, "0 certificates"),
        ({"certificates": [{"rawBytes": "AA=="}] * 11}, "11 certificates"),
        ({"certificates": [{"rawBytes": "AA=="}]}, "cannot be read"),
        ({"certificates": [{"rawBytes": "*"}]}, "base64"),
        ({"certificates": [None]}, "rawBytes"),
        ([], "x509CertificateChain"),
    ],
)
def test_a_chain_has_one_reading_or_none(folder, chain, why):
    key = new_key()
    sign(folder, leaf(key), key, x509CertificateChain=chain)
    found = verified(folder, pinned())
    assert (found.signature, found.name) == (Signature.INVALID, None)
    assert why in found.reason


def test_no_byte_of_what_an_authority_signed_can_be_another(folder):
    """Nor does one make an error escape: what cryptography raises for certificates has no class in common.

    The spelling of the authority's own signature (its unused bits) is nothing that it signed.
    """
    key, artifact = new_key(), admit(folder).artifact
    issued = leaf(key)
    sign(folder, issued, key, others=())
    bundle, publishers = json.loads((folder / "model.sig").read_text()), pinned(AUTHORITY.certificate)
    assert is_taken(bundle, artifact, publishers)
    (certificate,) = bundle["verificationMaterial"]["x509CertificateChain"]["certificates"]
    whole = base64.b64decode(certificate["rawBytes"])
    start = whole.index(issued.tbs_certificate_bytes)
    covered = range(start, start + len(issued.tbs_certificate_bytes))
    for at in range(len(whole)):
        certificate["rawBytes"] = b64(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert not is_taken(bundle, artifact, publishers) or at not in covered, at


def test_without_authorities_or_the_time_nothing_is_verified(folder):
    key = new_key()
    sign(folder, leaf(key), key)
    for publishers, now in ((Publishers(), NOW), (pinned(), None)):
        found = verified(folder, publishers, now)
        assert (found.signature, found.name) == (Signature.NOT_VERIFIED, None)


def test_a_pattern_is_one_that_takes_linear_time():
    with pytest.raises(DocumentError, match="x: is not a pattern that RE2 accepts"):
        compiled("(?=a)", where="x")


def test_authorities_are_certificates():
    for content in (b"", b"nonsense"):
        with pytest.raises(DocumentError, match=r"x: is not a list of certificates"):
            read_authorities(content, where="x")
