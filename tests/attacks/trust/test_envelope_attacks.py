"""Attacks on envelopes and keys: thresholds, encodings, malleable signatures."""

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.errors import TrustError
from peft_assay.core.statement import OBSERVATION, PAYLOAD_TYPE, STATEMENT_TYPE
from peft_assay.trust.envelope import P256_ORDER, open_envelope, seal
from peft_assay.trust.keys import PublicKey, public_key
from peft_assay.trust.roles import Role
from trust.world import World, sealer_of

STATEMENT = {
    "_type": STATEMENT_TYPE,
    "subject": [{"name": "x", "digest": {"sha256": "a" * 64}}],
    "predicateType": OBSERVATION,
    "predicate": {"fact": 1},
}


def signed(payload: bytes, *signers: CryptoSigner, payload_type: str = PAYLOAD_TYPE) -> dict:
    envelope = Envelope(payload, payload_type, {})
    for signer in signers:
        envelope.sign(signer)
    return envelope.to_dict()


def opens(document: dict, keys: list[PublicKey], **options) -> None:
    open_envelope(canonical_bytes(document), keys, **{"predicate_type": OBSERVATION, **options})


def test_threshold_needs_different_keys() -> None:
    one, two = sealer_of(Role.SANDBOX), sealer_of(Role.SANDBOX)
    keys = [one.public, two.public]
    both = signed(canonical_bytes(STATEMENT), one.signer, two.signer)
    opens(both, keys, threshold=2)
    with pytest.raises(TrustError, match="2 signatures, not one each of exactly 1"):
        opens(both, keys)
    alone = signed(canonical_bytes(STATEMENT), one.signer)
    with pytest.raises(TrustError, match="1 signatures"):
        opens(alone, keys, threshold=2)
    twice = {**alone, "signatures": alone["signatures"] * 2}
    with pytest.raises(TrustError, match="2 signatures, not one each"):
        opens(twice, keys, threshold=2)
    with pytest.raises(TrustError, match="exactly 0"):
        opens({**alone, "signatures": []}, keys, threshold=0)


def test_one_key_under_two_names_does_not_meet_a_threshold_of_two() -> None:
    """securesystemslib counts key ids; ours follow from the content, whatever its spelling."""
    one = sealer_of(Role.SANDBOX)
    shouted = public_key("ed25519", one.public.public.upper())
    assert shouted == one.public
    alone = signed(canonical_bytes(STATEMENT), one.signer)
    alias = {**alone["signatures"][0], "keyid": "alias"}
    with pytest.raises(TrustError, match="not pinned"):
        opens({**alone, "signatures": [*alone["signatures"], alias]}, [one.public, shouted], threshold=2)


def test_the_other_valid_spelling_of_an_ecdsa_signature_is_refused() -> None:
    """Anybody can turn (r, s) into (r, n - s), which verifies too, and so make an envelope of another digest."""
    sealer = sealer_of(Role.SANDBOX, CryptoSigner.generate_ecdsa())
    for _ in range(8):
        envelope = seal(STATEMENT, sealer.signer)
        open_envelope(envelope, [sealer.public], predicate_type=OBSERVATION)
    document = json.loads(envelope)
    r, s = decode_dss_signature(base64.b64decode(document["signatures"][0]["sig"]))
    assert s <= P256_ORDER // 2
    other = encode_dss_signature(r, P256_ORDER - s)
    document["signatures"][0]["sig"] = base64.b64encode(other).decode()
    Envelope.from_dict(json.loads(json.dumps(document))).verify([sealer.public.sslib()], 1)
    with pytest.raises(TrustError, match="not spelt canonically"):
        opens(document, [sealer.public])
    document["signatures"][0]["sig"] = base64.b64encode(b"not DER").decode()
    with pytest.raises(TrustError, match="not spelt canonically"):
        opens(document, [sealer.public])


def test_payload_type_is_covered() -> None:
    one = sealer_of(Role.SANDBOX)
    other_type = signed(canonical_bytes(STATEMENT), one.signer, payload_type="text/plain")
    with pytest.raises(TrustError, match="payload type"):
        opens(other_type, [one.public])
    with pytest.raises(TrustError, match="does not verify"):
        opens({**other_type, "payloadType": PAYLOAD_TYPE}, [one.public])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"extra": 1}, "extra"),
        ({"payload": 7}, "payload"),
        ({"payload": "a"}, "base64"),
        ({"payload": "QR=="}, "one base64 spelling"),
        ({"payload": "\ud800"}, "surrogate"),
        ({"signatures": {}}, "signatures"),
        ({"signatures": [{"sig": "AA=="}]}, "keyid"),
        ({"signatures": [{"keyid": "k", "sig": "AA==", "cert": "x"}]}, "cert"),
    ],
)
def test_misshapen_envelopes(change: dict, says: str) -> None:
    one = sealer_of(Role.SANDBOX)
    document = signed(canonical_bytes(STATEMENT), one.signer)
    opens(document, [one.public])
    with pytest.raises(TrustError, match=says):
        open_envelope(
            json.dumps({**document, **change}, separators=(",", ":"), sort_keys=True).encode(),
            [one.public],
            predicate_type=OBSERVATION,
        )


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{", b'{"payload":"","payload":""}', b"null", b"[" * 100])
def test_bytes_that_are_no_envelope(content: bytes) -> None:
    with pytest.raises(TrustError):
        open_envelope(content, [World.make().sandbox.public], predicate_type=OBSERVATION)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "not an https"),
        ({"_type": None}, "not an https"),
        ({"subject": []}, "0 subjects"),
        ({"subject": STATEMENT["subject"] * 2}, "2 subjects"),
        ({"subject": [{"name": "x", "digest": {"sha256": "A" * 64}}]}, "sha256"),
        ({"subject": [{"name": "x", "digest": {"sha256": "a" * 63}}]}, "sha256"),
        ({"subject": [{"name": "x", "digest": {"sha256": "a" * 64, "sha512": "b"}}]}, "sha512"),
        ({"subject": [{"name": "x", "digest": {"md5": "a"}}]}, "sha256"),
        ({"predicateType": "https://example.org/other"}, "predicate type"),
        ({"predicate": []}, "predicate"),
        ({"extra": 1}, "extra"),
    ],
)
def test_signed_payloads_that_are_no_statement_of_ours(change: dict, says: str) -> None:
    one = sealer_of(Role.SANDBOX)
    with pytest.raises(TrustError, match=says):
        opens(signed(canonical_bytes({**STATEMENT, **change}), one.signer), [one.public])


@pytest.mark.parametrize("payload", [b"", b"[1]", b"\xff\xfe", b'{"_type":1,"_type":2}', b'{"x":NaN}'])
def test_signed_payloads_that_are_not_json_objects(payload: bytes) -> None:
    one = sealer_of(Role.SANDBOX)
    with pytest.raises(TrustError):
        opens(signed(payload, one.signer), [one.public])


def _with_fact(spelling: bytes) -> bytes:
    return canonical_bytes(STATEMENT).replace(b'"fact":1', b'"fact":' + spelling)


@pytest.mark.parametrize(
    "spelling",
    [b"9007199254740993", b"-9007199254740993", b"123456789012345678901234567890", b"-0", b"1.0", b"1e2", b"0.10",
     b"0.1e1", b"1E+22", b"100000000000000000000000", b"0.30000000000000004441", b"1e400"],
)  # fmt: skip
def test_a_number_that_readers_read_as_two_is_not_signed_content(spelling) -> None:
    """RFC 8259, section 6: readers agree on doubles only. The signature is sound; the content has not one meaning."""
    sealer = sealer_of(Role.SANDBOX)
    with pytest.raises(TrustError, match="canonical"):
        opens(signed(_with_fact(spelling), sealer.signer), [sealer.public])


def test_control_python_and_a_reader_of_doubles_read_two_numbers() -> None:
    spelling = "9007199254740993"
    assert json.loads(spelling) != json.loads(spelling, parse_int=float)


@pytest.mark.parametrize(
    "value", [0, -1, 2**53 - 1, 1 - 2**53, 0.1, -2.5, 1e17, 1e20, 1e21, 3.2e39, 5e-324, 1.7976931348623157e308, 1e-7]
)
def test_every_number_that_can_be_signed_can_be_read(value) -> None:
    sealer = sealer_of(Role.SANDBOX)
    content = seal({**STATEMENT, "predicate": {"fact": value}}, sealer.signer)
    found = open_envelope(content, [sealer.public], predicate_type=OBSERVATION).predicate["fact"]
    assert found == value
    assert isinstance(found, int) == (float(value).is_integer() and abs(value) < 2**53)


@pytest.mark.parametrize("value", [2**53, -(2**60), float("nan"), float("inf")])
def test_what_has_no_exact_spelling_is_not_signed(value) -> None:
    with pytest.raises(TrustError, match="not a valid in-toto statement"):
        seal({**STATEMENT, "predicate": {"fact": value}}, sealer_of(Role.SANDBOX).signer)
