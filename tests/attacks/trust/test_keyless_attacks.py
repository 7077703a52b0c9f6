"""Attacks on keyless publishers: every link from the files to the identity broken, one at a time.

`test_the_unbroken_chain_is_accepted` is the control of all: the same folder, world and pins, nothing changed. Where a
check is ours and not sigstore-python's, the library is shown to accept the attack.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from peft_assay.intake.admit import admit
from peft_assay.trust.signatures import Signature
from trust.publisher.adapter_folder import is_taken, make_folder, pinned, put, signed, verified
from trust.publisher.sigstore_world import (
    DAY,
    ISSUER,
    MINUTE,
    NOW,
    OIDC_ISSUER,
    OIDC_ISSUER_V2,
    SUBJECT,
    Authority,
    Sigstore,
    TimestampAuthority,
    TransparencyLog,
    b64,
    new_key,
    payload_of,
    statement_of,
    timestamp,
)
from trust.publisher.sigstore_world import signed as raw_signature

PEER = "https://github.example/mallory/adapters/.github/workflows/release.yml@refs/heads/main"


@pytest.fixture(scope="module")
def world() -> Sigstore:
    return Sigstore()


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_folder(tmp_path)


def with_parts_of(world: Sigstore, **parts: Any) -> Sigstore:
    """`world` with parts of an attacker's making; the consumer's root stays that of `world`."""
    whole = {name: getattr(world, name) for name in ("authority", "certificate_log", "log", "timestamps")}
    return Sigstore(**(whole | parts))


def refused(folder: Path, world: Sigstore, signature: Signature, why: str = "") -> None:
    found = verified(folder, pinned(world))
    assert (found.signature, found.name) == (signature, None), found.reason
    assert why in found.reason, found.reason


def library_accepts(folder: Path, root: dict, *, identity: str = SUBJECT, issuer: str = ISSUER) -> bool:
    """Whether model-signing, with sigstore-python under it, takes the bundle of `folder`."""
    signing = pytest.importorskip("model_signing", reason="needs model-signing (extra dev)")
    service = {"url": "https://x.example", "majorApiVersion": 1, "operator": "x"}
    config = folder.parent / "config.json"
    config.write_text(
        json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
                "trustedRoot": root,
                "signingConfig": {
                    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
                    "caUrls": [service], "rekorTlogUrls": [service],
                },
            }
        )
    )  # fmt: skip
    verifier = signing.verifying.Config().use_sigstore_verifier(
        identity=identity, oidc_issuer=issuer, trust_config=config
    )
    try:
        verifier.verify(folder, folder / "model.sig")
    except Exception:
        return False
    return True


@pytest.mark.parametrize("version", [1, 2])
def test_the_unbroken_chain_is_accepted(folder, world, version):
    signed(folder, world, version=version)
    assert verified(folder, pinned(world)).signature is Signature.VALID
    assert library_accepts(folder, world.trusted_root())


def test_an_authority_of_the_attacker_s_with_the_same_names(folder, world):
    signed(folder, with_parts_of(world, authority=Authority()))
    refused(folder, world, Signature.UNKNOWN_AUTHORITY)


def test_a_whole_sigstore_of_the_attacker_s(folder, world):
    signed(folder, Sigstore())
    refused(folder, world, Signature.UNKNOWN_AUTHORITY)


def test_a_certificate_that_signs_certificates(folder, world):
    """Somebody whom the authority certified makes a certificate for another name."""
    key, own = new_key(), new_key()
    issued = world.certificate(own.public_key(), subject=PEER)
    mallory = Authority()
    mallory.key, mallory.certificate = own, issued
    forged = with_parts_of(world, authority=mallory)
    signed(folder, forged, key=key, certificate=forged.certificate(key.public_key()))
    refused(folder, world, Signature.UNKNOWN_AUTHORITY)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"certificate_log": new_key()}, "SCT"),
        ({"logged": False}, "signed certificate timestamp"),
        ({"purpose": ExtendedKeyUsageOID.SERVER_AUTH}, "code signing"),
        ({"more": lambda leaf: leaf.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)}, "verify"),
        ({"at": NOW - DAY}, "was valid from"),
        ({"at": NOW + DAY}, "was valid from"),
    ],
    ids=["timestamp of another log", "no timestamp", "for servers", "an authority", "expired", "not yet valid"],
)
def test_a_certificate_that_is_not_for_this(folder, world, how, why):
    key = new_key()
    signed(folder, world, key=key, certificate=world.certificate(key.public_key(), **how))
    refused(folder, world, Signature.INVALID, why)


def test_the_certificate_timestamp_of_another_certificate(folder, world):
    key = new_key()
    other = world.certificate(key.public_key(), subject=PEER)
    sct = other.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps)
    leaf = world.certificate(
        key.public_key(),
        logged=False,
        more=lambda leaf: leaf.add_extension(
            x509.UnrecognizedExtension(sct.oid, sct.value.public_bytes()), critical=False
        ),
    )
    signed(folder, world, key=key, certificate=leaf)
    refused(folder, world, Signature.INVALID, "SCT")


def test_a_signature_by_another_key_than_the_certificate_s(folder, world):
    certificate = world.certificate(new_key().public_key())
    signed(folder, world, key=new_key(), certificate=certificate)
    refused(folder, world, Signature.INVALID, "invalid signature")


def test_a_key_that_leaked_after_its_certificate_ended(folder, world):
    """The log says when: what is signed later was not signed by whom the certificate names."""
    key = new_key()
    certificate = world.certificate(key.public_key())
    signed(folder, world, key=key, certificate=certificate, at=NOW + 10 * MINUTE)
    assert verified(folder, pinned(world)).signature is Signature.VALID
    for at in (NOW + 11 * MINUTE, NOW - MINUTE):
        for version in (1, 2):
            signed(folder, world, key=key, certificate=certificate, at=at, version=version)
            assert not library_accepts(folder, world.trusted_root())
            refused(folder, world, Signature.INVALID, f"it was signed at {at.isoformat()}")


@pytest.mark.parametrize("version", [1, 2])
def test_the_log_entry_of_another_signing(folder, world, version):
    """Entry and proof are real, of what the same person signed before."""
    key = new_key()
    certificate = world.certificate(key.public_key())
    old = world.sign(b'{"old": 1}', key=key, certificate=certificate, version=version)
    bundle = signed(folder, world, key=key, certificate=certificate, version=version)
    bundle["verificationMaterial"]["tlogEntries"] = old["verificationMaterial"]["tlogEntries"]
    put(folder, bundle)
    refused(folder, world, Signature.INVALID, "log entry")


@pytest.mark.parametrize(
    ("version", "change"),
    [
        (1, lambda body: body["spec"]["payloadHash"].update(value="0" * 64)),
        (1, lambda body: body["spec"]["payloadHash"].update(algorithm="sha512")),
        (1, lambda body: body["spec"]["signatures"][0].update(signature="AAAA")),
        (1, lambda body: body["spec"]["signatures"][0].update(verifier="AAAA")),
        (1, lambda body: body["spec"]["signatures"].clear()),
        (1, lambda body: body.update(kind="hashedrekord")),
        (1, lambda body: body.update(apiVersion="0.0.2")),
        (1, lambda body: body.update(apiVersion="9.9.9")),
        (1, lambda body: body.update(spec={})),
        (2, lambda body: body["spec"]["hashedRekordV002"]["data"].update(digest="AAAA")),
        (2, lambda body: body["spec"]["hashedRekordV002"]["signature"].update(content="AAAA")),
        (2, lambda body: body.update(spec={})),
    ],
)
def test_a_log_entry_that_says_something_else(folder, world, version, change):
    def logged(body: dict) -> dict:
        change(body)
        return body

    signed(folder, world, logged=logged, version=version)
    refused(folder, world, Signature.INVALID)


def test_a_log_of_the_attacker_s(folder, world):
    signed(folder, with_parts_of(world, log=TransparencyLog()))
    refused(folder, world, Signature.INVALID, "log entry")


def test_a_proof_of_another_tree(folder, world):
    """The checkpoint is the log's; the entry is not in the tree that it is of."""
    elsewhere = with_parts_of(world, log=TransparencyLog(key=world.log.key, before=(b"another",) * 5))
    key = new_key()
    certificate = world.certificate(key.public_key())
    bundle = signed(folder, world, key=key, certificate=certificate)
    other = elsewhere.sign(b"{}", key=key, certificate=certificate)
    proof, foreign = (each["verificationMaterial"]["tlogEntries"][0]["inclusionProof"] for each in (bundle, other))
    for part in (["hashes"], ["checkpoint"], ["rootHash", "checkpoint"], list(foreign)):
        kept = {name: proof[name] for name in part}
        proof.update({name: foreign[name] for name in part})
        put(folder, bundle)
        refused(folder, world, Signature.INVALID, "log entry")
        proof.update(kept)
    put(folder, bundle)
    assert verified(folder, pinned(world)).signature is Signature.VALID


def test_a_checkpoint_that_the_log_did_not_sign(folder, world):
    bundle = signed(folder, world)
    proof = bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
    note = proof["checkpoint"]["envelope"].split("\n\n")[0] + "\n"
    identifier = base64.b64decode(bundle["verificationMaterial"]["tlogEntries"][0]["logId"]["keyId"])[:4]
    forged = b64(identifier + raw_signature(new_key(), note.encode()))
    for envelope in (
        f"{note}\n\u2014 rekor.example {forged}\n", note, f"{note}\n", f"{note}\n\u2014 rekor.example AAAA\n", "", "\n\n",
    ):  # fmt: skip
        proof["checkpoint"]["envelope"] = envelope
        put(folder, bundle)
        refused(folder, world, Signature.INVALID)


def test_a_time_that_nobody_signed(folder, world):
    """Without a promise of inclusion or a timestamp, the time of an entry is what the bundle's writer wants."""
    bundle = signed(folder, world)
    entry = bundle["verificationMaterial"]["tlogEntries"][0]
    entry["integratedTime"] = str(int(entry["integratedTime"]) + 1)
    put(folder, bundle)
    refused(folder, world, Signature.INVALID, "promise")
    entry["inclusionPromise"]["signedEntryTimestamp"] = b64(TransparencyLog().promise(entry))
    put(folder, bundle)
    refused(folder, world, Signature.INVALID, "promise")
    del entry["inclusionPromise"]
    put(folder, bundle)
    refused(folder, world, Signature.INVALID, "inclusion promise or signed timestamp")


def test_a_timestamp_of_another_authority_or_signature(folder, world):
    signed(folder, with_parts_of(world, timestamps=TimestampAuthority()), version=2)
    refused(folder, world, Signature.INVALID, "verified time")
    bundle = signed(folder, world, version=2)
    for token in (world.timestamps.token(b"another", NOW + MINUTE), b"", b"\x30\x00", b"\x30\x80" * 40):
        timestamps = [{"signedTimestamp": b64(token)}]
        bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"] = timestamps
        put(folder, bundle)
        refused(folder, world, Signature.INVALID)
    del bundle["verificationMaterial"]["timestampVerificationData"]
    put(folder, bundle)
    refused(folder, world, Signature.INVALID, "inclusion promise or signed timestamp")


@pytest.mark.parametrize("part", ["tlogs", "ctlogs", "certificateAuthorities"])
def test_keys_that_leaked_after_they_were_retired(folder, world, part):
    """A root says until when a key counts; the library does not compare it with when something was signed."""
    signed(folder, world)
    root = world.trusted_root()
    instance = root[part][0]
    instance.get("publicKey", instance)["validFor"]["end"] = timestamp(NOW - DAY)
    assert library_accepts(folder, root), "positive control"
    found = verified(folder, pinned(world, root=root))
    assert (found.signature, found.name) == (Signature.INVALID, None)


def issuers(old: str, new: bytes):
    """A certificate whose two spellings of the issuer differ."""

    def more(leaf: x509.CertificateBuilder) -> x509.CertificateBuilder:
        kept = [each for each in leaf._extensions if each.oid not in {OIDC_ISSUER, OIDC_ISSUER_V2}]
        leaf._extensions = [
            *kept,
            x509.Extension(OIDC_ISSUER, False, x509.UnrecognizedExtension(OIDC_ISSUER, old.encode())),
            x509.Extension(OIDC_ISSUER_V2, False, x509.UnrecognizedExtension(OIDC_ISSUER_V2, new)),
        ]
        return leaf

    return more


def utf8(text: str) -> bytes:
    return b"\x0c" + bytes([len(text)]) + text.encode()


def test_an_issuer_in_two_spellings_that_differ(folder, world):
    """The library reads the older spelling; others read the newer one."""
    key = new_key()
    certificate = world.certificate(key.public_key(), more=issuers(ISSUER, utf8("https://accounts.example")))
    signed(folder, world, key=key, certificate=certificate)
    assert library_accepts(folder, world.trusted_root()), "positive control"
    refused(folder, world, Signature.INVALID, "exactly one issuer")
    for der in (b"", b"\x0c\x7f", b"\x0c\x01\xff", b"\x02\x01\x01"):
        signed(folder, world, key=key, certificate=world.certificate(key.public_key(), more=issuers(ISSUER, der)))
        refused(folder, world, Signature.INVALID)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ([SUBJECT, PEER], "exactly one mail address or URI"),
        ([], "exactly one"),
        ([x509.IPAddress(IPv4Address("127.0.0.1"))], "exactly one"),
    ],
)
def test_a_certificate_that_names_more_than_one_or_nobody(folder, world, names, why):
    def more(leaf: x509.CertificateBuilder) -> x509.CertificateBuilder:
        leaf._extensions = [each for each in leaf._extensions if each.oid != x509.SubjectAlternativeName.oid]
        general = [x509.UniformResourceIdentifier(each) if isinstance(each, str) else each for each in names]
        return leaf.add_extension(x509.SubjectAlternativeName(general), critical=True) if general else leaf

    key = new_key()
    signed(folder, world, key=key, certificate=world.certificate(key.public_key(), more=more))
    refused(folder, world, Signature.INVALID)
    if len(names) > 1:
        assert library_accepts(folder, world.trusted_root()), "positive control"
        refused(folder, world, Signature.INVALID, why)


def test_somebody_else_of_the_same_issuer(folder, world):
    key = new_key()
    signed(folder, world, key=key, certificate=world.certificate(key.public_key(), subject=PEER))
    refused(folder, world, Signature.UNKNOWN_IDENTITY, PEER)


def test_the_same_name_by_another_issuer(folder, world):
    key = new_key()
    signed(folder, world, key=key, certificate=world.certificate(key.public_key(), issuer="https://evil.example"))
    refused(folder, world, Signature.UNKNOWN_IDENTITY, "https://evil.example")


def test_a_file_that_the_signer_left_out_can_be_exchanged_under_the_library_and_not_here(folder, world):
    statement = statement_of(admit(folder).artifact)
    predicate = statement["predicate"]
    predicate["resources"] = [each for each in predicate["resources"] if each["name"] != "adapter_config.json"]
    predicate["serialization"]["ignore_paths"].append("adapter_config.json")
    hashes = b"".join(bytes.fromhex(each["digest"]) for each in predicate["resources"])
    statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(hashes).hexdigest()
    statement["subject"][0]["name"] = folder.name
    put(folder, world.sign(json.dumps(statement).encode()))
    (folder / "adapter_config.json").write_bytes(b'{"r": 8, "lora_alpha": 4000}')
    assert library_accepts(folder, world.trusted_root()), "positive control: the library believes the signer's list"
    refused(folder, world, Signature.INVALID, "adapter_config.json is not covered")


def test_files_of_another_signing(folder, world):
    bundle = world.sign(payload_of(admit(folder).artifact))
    (folder / "adapter_model.safetensors").write_bytes(b"other")
    put(folder, bundle)
    refused(folder, world, Signature.INVALID, "adapter_model.safetensors is not the file that was signed")


def test_two_readings_of_a_bundle(folder, world):
    """A key twice: the library takes the last, another reader might not."""
    text = json.dumps(signed(folder, world))
    (folder / "model.sig").write_text(text.replace('{"mediaType"', '{"mediaType": "x", "mediaType"', 1))
    assert library_accepts(folder, world.trusted_root()), "positive control"
    refused(folder, world, Signature.INVALID, "twice")
    payload = payload_of(admit(folder).artifact).replace(b'{"_type"', b'{"_type": "x", "_type"', 1)
    put(folder, world.sign(payload))
    refused(folder, world, Signature.INVALID, "twice")


def test_a_bundle_that_speaks_of_two_keys(folder, world):
    bundle = signed(folder, world)
    bundle["verificationMaterial"]["publicKey"] = {"hint": "x"}
    put(folder, bundle)
    refused(folder, world, Signature.INVALID, "exactly one of")
    bundle["verificationMaterial"] = {"tlogEntries": []}
    put(folder, bundle)
    refused(folder, world, Signature.INVALID, "exactly one of")


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x00" * 100, b"{", b"[" * 100_000, b'{"a":' * 50_000, b" " * (5 << 20), b'"' + b"x" * (1 << 20) + b'"',
        b'{"mediaType": 1e999}', "\ufeff{}".encode(), b"null",
    ],
)  # fmt: skip
def test_garbage(folder, world, content):
    (folder / "model.sig").write_bytes(content)
    refused(folder, world, Signature.INVALID)


def leaves(document: Any, path: tuple = ()) -> Iterator[tuple]:
    pairs = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in pairs:
        if isinstance(value, (dict, list)):
            yield from leaves(value, (*path, key))
        yield (*path, key)


VALUES = (None, "", "AAAA", "-1", "18446744073709551615", "1" * 5000, 0, [], {}, "é")
UNBOUND = {
    1: set(),
    # Rekor v2 has no promise of inclusion: where in the log an entry is, is bound by the proof, which has its own index.
    2: {("verificationMaterial", "tlogEntries", 0, "logIndex")},
}


@pytest.mark.parametrize("version", [1, 2])
def test_any_other_value_anywhere_is_refused_and_breaks_nothing(folder, world, version):
    """The law: of a valid bundle, no part can be exchanged (but what nobody reads), and none makes an error escape."""
    artifact, publishers = admit(folder).artifact, pinned(world)
    bundle = world.sign(payload_of(artifact), version=version)
    accepted = []
    for path in list(leaves(bundle)):
        *way, last = path
        place: Any = bundle
        for step in way:
            place = place[step]
        kept = place[last]
        for value in VALUES:
            if value != kept:
                place[last] = value
                if is_taken(bundle, artifact, publishers):
                    accepted.append((path, value))
        place[last] = kept
    assert {path for path, _ in accepted} <= UNBOUND[version], accepted


def test_no_byte_of_a_certificate_can_be_another(folder, world):
    """The log's entry has the whole of it."""
    artifact, publishers = admit(folder).artifact, pinned(world)
    bundle = world.sign(payload_of(artifact))
    assert is_taken(bundle, artifact, publishers)
    certificate = bundle["verificationMaterial"]["certificate"]
    whole = base64.b64decode(certificate["rawBytes"])
    for at in range(len(whole)):
        certificate["rawBytes"] = b64(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert not is_taken(bundle, artifact, publishers), at
