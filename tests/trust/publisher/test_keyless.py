"""Keyless publishers: what model-signing signs through a Sigstore of one's own is verified, offline, by its root alone."""

import json
import logging
import re
import shutil
import socket
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from peft_assay.core.errors import DocumentError
from peft_assay.core.publisher import Identity, Keyless, Publishers
from peft_assay.trust.keyless import check_root, verify_keyless
from peft_assay.trust.signatures import Signature, Unproven
from trust.publisher.adapter_folder import make_folder, pinned, put, signed, verified
from trust.publisher.sigstore_services import CLIENT, identity_token, served
from trust.publisher.sigstore_world import DAY, ISSUER, MINUTE, NOW, SUBJECT, Sigstore, new_key, timestamp


@pytest.fixture(scope="module")
def world() -> Sigstore:
    return Sigstore()


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_folder(tmp_path)


@pytest.fixture
def offline(monkeypatch):
    """Nothing may be connected to."""

    def refuse(*arguments, **options):
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("version", [1, 2], ids=["promise of inclusion", "timestamp authority"])
def test_a_signature_is_verified_offline_and_named_with_issuer_and_subject(folder, world, offline, version):
    signed(folder, world, version=version)
    found = verified(folder, pinned(world))
    assert (found.signature, found.name) == (Signature.VALID, "acme"), found.reason
    assert found.reason == f"every file of it is signed by acme ({SUBJECT}, for whom {ISSUER} vouches)"


def test_what_the_library_signs_is_verified_here_and_what_we_build_is_verified_there(folder, tmp_path, monkeypatch):
    """Interoperability both ways: the same root, the same files, model-signing and sigstore-python as they are."""
    signing = pytest.importorskip("model_signing", reason="needs model-signing (extra dev)")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    world, config = Sigstore(), tmp_path / "config.json"

    def library(path: Path, **other) -> None:
        expected = {"identity": SUBJECT, "oidc_issuer": ISSUER} | other
        signing.verifying.Config().use_sigstore_verifier(**expected, trust_config=config).verify(folder, path)

    with served(world) as document:
        config.write_text(json.dumps(document))
        signer = signing.signing.Config().use_sigstore_signer(
            oidc_issuer=world.url, identity_token=identity_token(ISSUER, SUBJECT), client_id=CLIENT, trust_config=config,
            use_ambient_credentials=False,
        )  # fmt: skip
        signer.sign(folder, tmp_path / "model.sig")
    library(tmp_path / "model.sig")
    (folder / "model.sig").write_bytes((tmp_path / "model.sig").read_bytes())
    assert verified(folder, pinned(world)).signature is Signature.VALID
    for version in (1, 2):
        signed(folder, world, version=version)
        library(folder / "model.sig")
        with pytest.raises(Exception, match="SANs do not match"):
            library(folder / "model.sig", identity="somebody@else.example")


def test_what_was_signed_through_the_public_instance_is_verified_by_its_root(tmp_path, offline):
    """A bundle of model-signing's own tests (github.com/sigstore/model-transparency e343073, Apache-2.0:
    scripts/tests/v1.0.0-sigstore), by the root that sigstore-python carries: here a consumer's file as any other."""
    import sigstore

    (root,) = Path(sigstore.__file__).parent.glob("_store/*sigstore.dev/trusted_root.json")
    folder = shutil.copytree(Path(__file__).parent / "public", tmp_path / "public")
    pin = Keyless(root.read_bytes(), "https://sigstore.verify.ibm.com/oauth2", Identity("stefanb@us.ibm.com"))
    check_root(pin.trust_root, where="x")
    assert verified(folder, Publishers(keyless={"acme": pin})).name == "acme"
    for changed in (replace(pin, issuer=ISSUER), replace(pin, identity=Identity("stefanb@us.ibm.co"))):
        assert verified(folder, Publishers(keyless={"acme": changed})).signature is Signature.UNKNOWN_IDENTITY
    assert verified(folder, pinned(Sigstore())).signature is Signature.UNKNOWN_AUTHORITY
    (folder / "signme-1").write_bytes(b"signme-2")
    assert verified(folder, Publishers(keyless={"acme": pin})).signature is Signature.INVALID


def test_a_mail_address_is_a_subject_too(folder, world):
    key = new_key()
    signed(folder, world, key=key, certificate=world.certificate(key.public_key(), subject="ann@acme.example"))
    assert verified(folder, pinned(world, identity=Identity("ann@acme.example"))).signature is Signature.VALID


@pytest.mark.parametrize(
    ("pattern", "signature"),
    [
        (r"https://github\.example/acme/adapters/\.github/workflows/release\.yml@refs/(heads/main|tags/v.+)", "valid"),
        (r"https://github\.example/acme/", "unknown-identity"),
        (r".*evil.*", "unknown-identity"),
    ],
)
def test_a_pattern_means_the_whole_name(folder, world, pattern, signature):
    signed(folder, world)
    assert verified(folder, pinned(world, identity=Identity(pattern, pattern=True))).signature == signature


@pytest.mark.parametrize(
    "change",
    [
        {"identity": Identity("https://github.example/acme/adapters/.github/workflows/release.yml@refs/heads/dev")},
        {"identity": Identity(SUBJECT.upper())},
        {"identity": Identity(SUBJECT[:-1])},
        {"identity": Identity(SUBJECT.replace("acme", "a.*"))},
        {"issuer": "https://accounts.example"},
        {"issuer": ISSUER + "/"},
    ],
)
def test_another_identity_or_issuer_is_nobody_whom_you_know(folder, world, change):
    signed(folder, world)
    found = verified(folder, pinned(world, **change))
    assert (found.signature, found.name) == (Signature.UNKNOWN_IDENTITY, None)
    assert SUBJECT in found.reason
    assert ISSUER in found.reason


def test_each_publisher_is_asked_for_by_its_own_root(folder, world):
    other = Sigstore()
    mine, theirs = pinned(world).keyless["acme"], pinned(other).keyless["acme"]
    signed(folder, world)
    both = Publishers(keyless={"acme": mine, "bert": theirs})
    assert verified(folder, both).name == "acme"
    signed(folder, other)
    assert verified(folder, both).name == "bert"
    swapped = Publishers(keyless={"acme": Keyless(theirs.trust_root, ISSUER, Identity("x")), "bert": mine})
    found = verified(folder, swapped)
    assert (found.signature, found.name) == (Signature.UNKNOWN_IDENTITY, None), "the more telling of two refusals"
    signed(folder, Sigstore())
    assert verified(folder, both).signature is Signature.UNKNOWN_AUTHORITY


def test_without_a_trust_root_a_certificate_is_told_of_and_not_verified(folder, world):
    signed(folder, world)
    found = verified(folder, Publishers())
    assert (found.signature, found.name) == (Signature.NOT_VERIFIED, None)
    assert "trustRoot" in found.reason


def test_without_the_extra_the_next_step_names_it(folder, world, monkeypatch):
    signed(folder, world)
    publishers = pinned(world)
    monkeypatch.setitem(sys.modules, "sigstore.verify", None)
    found = verified(folder, publishers)
    assert (found.signature, found.name) == (Signature.NOT_VERIFIED, None)
    assert "pip install 'peft-assay[keyless]'" in found.reason
    check_root(publishers.keyless["acme"].trust_root, where="x")
    check_root(json.dumps(world.trusted_root() | {"tlogs": []}).encode(), where="x")


def test_a_change_of_the_files_is_seen(folder, world):
    signed(folder, world)
    (folder / "adapter_config.json").write_bytes(b'{"r": 9}')
    found = verified(folder, pinned(world))
    assert (found.signature, found.name) == (Signature.INVALID, None)
    assert "adapter_config.json is not the file that was signed" in found.reason


def test_nothing_that_is_said_of_a_bundle_is_printed_or_warned_of(folder, world, caplog, capfd):
    """A library's log would reach the terminal beside `display`."""
    bundle = signed(folder, world)
    bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]["hashes"] = []
    put(folder, bundle)
    with caplog.at_level(logging.WARNING), warnings.catch_warnings(record=True) as warned:
        assert verified(folder, pinned(world)).signature is Signature.INVALID
    assert not caplog.records
    assert not warned
    assert capfd.readouterr() == ("", "")


def test_a_long_refusal_is_cut(folder, world):
    bundle = signed(folder, world)
    bundle["verificationMaterial"] |= {f"{number:03}{'x' * 1000}": 1 for number in range(100)}
    put(folder, bundle)
    found = verified(folder, pinned(world))
    assert found.signature is Signature.INVALID
    assert len(found.reason) == 400


def test_the_payload_must_be_in_toto_s_whoever_calls(world):
    bundle = world.sign(b"{}", payload_type="text/plain")
    with pytest.raises(Unproven, match="payloadType"):
        verify_keyless(json.dumps(bundle).encode(), pinned(world).keyless)


def changed(world: Sigstore, change) -> dict:
    root = world.trusted_root()
    change(root)
    return root


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda root: root.update(mediaType="text/plain"), "not a Sigstore trusted root"),
        (lambda root: root.update(tlogs=[]), "x: tlogs: names no log"),
        (lambda root: root.update(ctlogs=[]), "x: ctlogs: names no log"),
        (lambda root: root.update(certificateAuthorities=[]), "names no authority"),
        (lambda root: root.pop("ctlogs"), "ctlogs: is missing"),
        (lambda root: root.update(more=1), "more: is not known here"),
        (lambda root: root["tlogs"][0]["publicKey"].update(rawBytes="AAAA"), "tlogs.0.publicKey: rawBytes"),
        (lambda root: root["ctlogs"][0]["publicKey"].pop("rawBytes"), "ctlogs.0.publicKey: rawBytes"),
        (lambda root: root["ctlogs"][0]["publicKey"]["validFor"].update(start="2020-01-01T00:00:00"), "time zone"),
        (lambda root: root["certificateAuthorities"][0]["validFor"].update(end="2020-01-01T00:00:00"), "time zone"),
        (lambda root: root["certificateAuthorities"][0]["certChain"].update(certificates=[]), "0: certChain is empty"),
        (
            lambda root: root["timestampAuthorities"][0]["certChain"]["certificates"][0].update(rawBytes="AAAA"),
            "authority 1: certChain has what is not a certificate",
        ),
    ],
)
def test_a_trust_root_that_would_verify_nothing_is_refused_where_it_is_named(world, change, why):
    with pytest.raises(DocumentError, match=re.escape(why)):
        check_root(json.dumps(changed(world, change)).encode(), where="x")


def test_a_trust_root_has_one_reading(world):
    document = json.dumps(world.trusted_root())
    check_root(document.encode(), where="x")
    check_root(
        json.dumps(changed(world, lambda root: root["tlogs"][0]["publicKey"].pop("validFor"))).encode(), where="x"
    )
    for content, why in (
        (document.replace('{"mediaType"', '{"tlogs": [], "mediaType"', 1).encode(), "twice"),
        (b"[]", "not a Sigstore trusted root"),
        (b"{", "not valid JSON"),
        (b" " * (2 << 20), "more than"),
    ):
        with pytest.raises(DocumentError, match=why):
            check_root(content, where="x")


@pytest.mark.parametrize("part", ["tlogs", "ctlogs", "certificateAuthorities"])
def test_a_log_or_authority_counts_for_what_it_said_while_it_was_in_use(folder, world, part):
    signed(folder, world)

    def until(end):
        def change(root):
            instance = root[part][0]
            instance.get("publicKey", instance)["validFor"]["end"] = timestamp(end)

        return changed(world, change)

    assert verified(folder, pinned(world, root=until(NOW + DAY))).signature is Signature.VALID
    found = verified(folder, pinned(world, root=until(NOW - DAY)))
    assert (found.signature, found.name) == (Signature.INVALID, None)
    assert "was in use when it was signed" in found.reason


def test_the_end_of_a_certificate_is_no_end_of_what_it_signed(folder, world):
    """Certificates last ten minutes: what counts is when the log saw the signature."""
    signed(folder, world, at=NOW + 10 * MINUTE)
    assert verified(folder, pinned(world)).signature is Signature.VALID
