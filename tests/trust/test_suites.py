"""Owners' signatures of suites: exactly these two files, by exactly this key, or no."""

import subprocess

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from peft_assay.core.digest import sha256
from peft_assay.core.errors import DocumentError, TrustError
from peft_assay.trust.keys import from_sslib, load_key_file, read_public_key
from peft_assay.trust.suites import open_suite_signature, sign_suite, suite_statement

DOCUMENT, CASES = sha256(b"document"), sha256(b"cases")


def key_file(path, private=None):
    private = private or ed25519.Ed25519PrivateKey.generate()
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    return path


def pem_of(private):
    return private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def key(tmp_path):
    return key_file(tmp_path / "owner.pem")


@pytest.fixture
def public(key):
    return from_sslib(load_key_file(key).public_key)


def statement(**changes):
    return suite_statement(**{"suite": "task", "version": "1", "document": DOCUMENT, "cases": CASES, **changes})


def check(envelope, public, **changes):
    given = {"document": DOCUMENT, "cases": CASES, "owner": "ada", "where": "suite.dsse.json", **changes}
    open_suite_signature(envelope, public, **given)


def test_what_the_owner_signed_is_accepted(key, public):
    check(sign_suite(statement(), key), public)


@pytest.mark.parametrize("changed", ["document", "cases"])
def test_a_file_changed_afterwards_is_noticed(key, public, changed):
    with pytest.raises(TrustError, match="changed after it was signed"):
        check(sign_suite(statement(), key), public, **{changed: sha256(b"other")})


def test_a_statement_whose_subject_is_another_suite_is_refused(key, public):
    forged = statement()
    forged["subject"] = statement(cases=sha256(b"other"))["subject"]
    with pytest.raises(TrustError, match="changed after it was signed"):
        check(sign_suite(forged, key), public)


def test_no_signature_another_s_and_another_statement_are_refused(tmp_path, key, public):
    for envelope, why in (
        (None, "is not signed, and ada's signature is asked for"),
        (sign_suite(statement(), key_file(tmp_path / "other.pem")), "not pinned for this role"),
        (b"{}", "is missing"),
        (sign_suite({**statement(), "predicateType": "https://example.org/other/v1"}, key), "predicate type"),
        (sign_suite({**statement(), "predicate": {"id": "task"}}, key), "is missing"),
    ):
        with pytest.raises(TrustError, match=why):
            check(envelope, public)


def test_public_keys_are_read_from_pem_of_two_kinds():
    for private in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())):
        assert len(read_public_key(pem_of(private), where="owners.ada").keyid) == 64
    for content, why in (
        (b"nothing", "not a public key in PEM"),
        (pem_of(ec.generate_private_key(ec.SECP384R1())), "neither an ed25519 nor a P-256 key"),
        (pem_of(rsa.generate_private_key(65537, 2048)), "neither an ed25519 nor a P-256 key"),
    ):
        with pytest.raises(DocumentError, match=why) as caught:
            read_public_key(content, where="owners.ada")
        assert caught.value.where == "owners.ada"


def test_keys_that_openssl_makes_are_read(tmp_path):
    private, public = tmp_path / "k.pem", tmp_path / "k.pub"
    try:
        subprocess.run(
            ["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
    private.chmod(0o600)
    check(sign_suite(statement(), private), read_public_key(public.read_bytes(), where="k.pub"))
