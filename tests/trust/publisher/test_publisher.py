"""Publishers' signatures: what the field's own library signs is verified, and its two holes are shown and closed."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from peft_assay.core.errors import DocumentError
from peft_assay.core.publisher import Publishers
from peft_assay.intake.admit import admit
from peft_assay.trust.publisher import resource_list, signature_file, verify_publisher
from peft_assay.trust.publisher_keys import fingerprint, read_key
from peft_assay.trust.signatures import PAYLOAD_TYPE, Signature

FILES = {"adapter_config.json": b'{"r": 8}', "adapter_model.safetensors": b"weights", "sub/a.txt": b"text"}
KEYS = {name: ec.generate_private_key(curve) for name, curve in (("acme", ec.SECP256R1()), ("wide", ec.SECP521R1()))}


def pem(key) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


TRUSTED = Publishers({name: pem(key) for name, key in KEYS.items()})


@pytest.fixture
def folder(tmp_path) -> Path:
    for path, content in FILES.items():
        (tmp_path / "a" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a" / path).write_bytes(content)
    return tmp_path / "a"


def library():
    return pytest.importorskip("model_signing", reason="needs model-signing (extra dev)")


def sign_with_library(folder: Path, key, ignore: tuple[str, ...] = ()) -> None:
    signing = library()
    private = folder.parent / "key.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    config = signing.signing.Config().use_elliptic_key_signer(private_key=private)
    if ignore:
        ignored = [folder / name for name in ignore]
        hashing = signing.hashing.Config().set_ignored_paths(paths=ignored, ignore_git_paths=True)
        config = config.set_hashing_config(hashing)
    config.sign(folder, folder.parent / "model.sig")


def library_accepts(folder: Path, key) -> bool:
    public = folder.parent / "public.pem"
    public.write_bytes(pem(key))
    config = library().verifying.Config().use_elliptic_key_verifier(public_key=public)
    try:
        config.verify(folder, folder.parent / "model.sig")
    except ValueError:
        return False
    return True


def put_beside(folder: Path) -> None:
    (folder / "model.sig").write_bytes((folder.parent / "model.sig").read_bytes())


def verified(folder: Path, keys: Publishers = TRUSTED):
    artifact = admit(folder).artifact
    path = signature_file(artifact)
    assert path is not None
    return verify_publisher((folder / path).read_bytes(), artifact, path, keys, None)


def bundle(folder: Path, key=KEYS["acme"], **changes) -> None:
    """A bundle of our own making, one part changed."""
    artifact = admit(folder).artifact
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "a", "digest": {"sha256": artifact.oms_root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"resources": resource_list(artifact)},
    } | changes.get("statement", {})
    payload = changes.get("payload", json.dumps(statement).encode())
    message = b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)
    raw = key.sign(message, ec.ECDSA(hashes.SHA512() if key.curve.name == "secp521r1" else hashes.SHA256()))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(raw).decode()}],
    } | changes.get("envelope", {})
    whole = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": "x"}, "tlogEntries": []},
        "dsseEnvelope": envelope,
    } | changes.get("bundle", {})
    (folder / "model.sig").write_bytes(changes.get("raw", json.dumps(whole).encode()))


@pytest.mark.parametrize("name", sorted(KEYS))
def test_what_the_library_signs_is_verified_and_named(folder, name):
    sign_with_library(folder, KEYS[name])
    assert library_accepts(folder, KEYS[name])
    put_beside(folder)
    found = verified(folder)
    assert (found.signature, found.name) == (Signature.VALID, name), found.reason


def test_our_resource_list_is_the_library_s(folder):
    artifact = admit(folder).artifact
    sign_with_library(folder, KEYS["acme"])
    payload = json.loads(
        base64.b64decode(json.loads((folder.parent / "model.sig").read_bytes())["dsseEnvelope"]["payload"])
    )
    assert payload["predicate"]["resources"] == resource_list(artifact)
    assert payload["subject"][0]["digest"]["sha256"] == artifact.oms_root


def test_a_file_left_out_by_the_signer_can_be_exchanged_under_the_library_and_not_here(folder):
    sign_with_library(folder, KEYS["acme"], ignore=("adapter_config.json",))
    (folder / "adapter_config.json").write_bytes(b'{"r": 8, "lora_alpha": 4000}')
    assert library_accepts(folder, KEYS["acme"]), "positive control: the library believes the signer's list"
    put_beside(folder)
    found = verified(folder)
    assert found.signature is Signature.INVALID
    assert "adapter_config.json is not covered" in found.reason


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda f: (f / "adapter_config.json").write_bytes(b"{}"), "adapter_config.json is not the file"),
        (lambda f: (f / "added.txt").write_bytes(b""), "added.txt is not covered"),
        (lambda f: (f / "sub/a.txt").unlink(), "sub/a.txt is signed and not here"),
        (lambda f: (f / "sub/a.txt").rename(f / "sub/b.txt"), "sub/b.txt is not covered"),
    ],
)
def test_any_change_after_signing_is_seen(folder, change, why):
    bundle(folder)
    assert verified(folder).signature is Signature.VALID
    change(folder)
    found = verified(folder)
    assert (found.signature, found.name) == (Signature.INVALID, None)
    assert why in found.reason


def test_git_s_own_file_may_lie_beside(folder):
    bundle(folder)
    (folder / ".gitattributes").write_bytes(b"*.safetensors filter=lfs")
    assert verified(folder).signature is Signature.VALID


def test_a_key_that_is_not_known_names_nobody(folder):
    bundle(folder, ec.generate_private_key(ec.SECP256R1()))
    assert (verified(folder).signature, verified(folder).name) == (Signature.UNKNOWN_KEY, None)
    bundle(folder)
    assert verified(folder, Publishers({})).signature is Signature.UNKNOWN_KEY


STATEMENT = {"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://model_signing/signature/v1.0"}
ENTRY = {"name": "adapter_config.json", "digest": "0" * 64, "algorithm": "sha256"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"raw": b"\x00"}, "not UTF-8|not valid JSON"),
        ({"raw": b'{"a": 1, "a": 2}'}, "twice"),
        ({"raw": b"[]"}, "mediaType"),
        ({"bundle": {"mediaType": "text/plain"}}, "mediaType"),
        ({"bundle": {"verificationMaterial": []}}, "verificationMaterial"),
        ({"bundle": {"dsseEnvelope": None}}, "dsseEnvelope"),
        ({"envelope": {"payloadType": "text/plain"}}, "payloadType"),
        ({"envelope": {"signatures": []}}, "exactly one signature"),
        ({"envelope": {"signatures": [{"sig": "AA=="}] * 2}}, "exactly one signature"),
        ({"envelope": {"signatures": [{"sig": "*"}]}}, "base64"),
        ({"envelope": {"payload": "é"}}, "base64"),
        ({"payload": b'{"_type": 1, "_type": 2}'}, "twice"),
        ({"statement": {"_type": "other"}}, "model-signing statement"),
        ({"statement": {"predicateType": "other"}}, "model-signing statement"),
        ({"statement": {"predicate": {"resources": {}}}}, "resources"),
        ({"statement": {"predicate": {"resources": [1]}}}, "algorithm"),
        ({"statement": {"predicate": {"resources": [ENTRY | {"algorithm": "blake3"}]}}}, "other digest"),
        ({"statement": {"predicate": {"resources": [ENTRY, ENTRY]}}}, "listed twice"),
    ],
)
def test_a_bundle_has_one_reading_or_none(folder, changes, why):
    bundle(folder, **changes)
    found = verified(folder)
    assert (found.signature, found.name) == (Signature.INVALID, None)
    import re

    assert re.search(why, found.reason), found.reason


def test_only_keys_that_publishers_sign_with_are_keys():
    for other in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256K1())):
        with pytest.raises(DocumentError, match="P-256"):
            read_key(pem(other), where="publishers.x")
    with pytest.raises(DocumentError, match="PEM"):
        read_key(b"nonsense", where="publishers.x")
    assert fingerprint(pem(KEYS["acme"]), where="x").startswith("sha256:")


def test_which_file_is_the_signature(folder):
    assert signature_file(admit(folder).artifact) is None
    (folder / "b.sig").write_bytes(b"")
    assert signature_file(admit(folder).artifact) == "b.sig"
    (folder / "c.sig").write_bytes(b"")
    assert signature_file(admit(folder).artifact) is None
    (folder / "model.sig").write_bytes(b"")
    assert signature_file(admit(folder).artifact) == "model.sig"
