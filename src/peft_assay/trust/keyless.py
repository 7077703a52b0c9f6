"""Publishers without a key of their own: a Sigstore's authority certifies, for minutes, whom an issuer vouches for.

Chain, certificate timestamp, inclusion in the transparency log, signed time and signature are verified by
sigstore-python, with the root of trust that the consumer gave and no other: nothing is fetched, and Sigstore's public
instance is not assumed. Stricter than the library in three things: an authority or log counts only for what it said
while the root says it was in use (``validFor``), a certificate that has an issuer in two spellings has the same in
both, and it names exactly one subject.

Nothing here is imported before a certificate is to be verified: sigstore is an extra.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pydantic import ValidationError

from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json, problems_of
from peft_assay.core.publisher import Keyless
from peft_assay.trust.identities import UNREADABLE, matches, names_in
from peft_assay.trust.signatures import PAYLOAD_TYPE, Signature, Signed, Unproven, invalid

if TYPE_CHECKING:
    from sigstore.models import Bundle
    from sigstore_models.common.v1 import TimeRange
    from sigstore_models.trustroot.v1 import TrustedRoot

MAX_ROOT_BYTES = 1 << 20
ROOT_TYPE = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
EXTRA = "pip install 'peft-assay[keyless]'"
_ISSUER = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
"""The issuer as plain text, and as DER (oid-info.md of github.com/sigstore/fulcio)."""
_TELLING = (Signature.UNKNOWN_IDENTITY, Signature.INVALID, Signature.UNKNOWN_AUTHORITY)
"""Where several roots refuse a bundle: whose refusal says most, first."""

_Instance = TypeVar("_Instance")


def verify_keyless(bundle: bytes, publishers: Mapping[str, Keyless]) -> Signed:
    """What `bundle`, strict JSON, says and which of `publishers` signed it; raises Unproven, DocumentError."""
    if not publishers:
        reason = "signed with a certificate of a Sigstore, and nothing under publishers has a trustRoot to verify it by"
        raise Unproven(Signature.NOT_VERIFIED, reason)
    if not is_installed():
        raise Unproven(Signature.NOT_VERIFIED, f"signed with a certificate, and sigstore is not installed: {EXTRA}")
    refusals = []
    for root in sorted({pinned.trust_root for pinned in publishers.values()}):
        pins = _Pins({name: pinned for name, pinned in publishers.items() if pinned.trust_root == root})
        try:
            return _verified(bundle, root, pins)
        except Unproven as refusal:
            refusals.append(refusal)
    raise min(refusals, key=lambda refusal: _TELLING.index(refusal.signature))


def is_installed() -> bool:
    """Whether the extra is."""
    try:
        import sigstore.verify  # noqa: F401 - only whether it can be had
    except ImportError:
        return False
    return True


def check_root(document: bytes, *, where: str) -> None:
    """Raises DocumentError unless `document` is a root of trust that can be verified with.

    Without the extra only its form as JSON is looked at: nothing is verified with it then.
    """
    content = parse_json(document, where=where, max_bytes=MAX_ROOT_BYTES)
    if not isinstance(content, dict) or content.get("mediaType") != ROOT_TYPE:
        raise DocumentError(f"is not a Sigstore trusted root (mediaType {ROOT_TYPE})", where=where)
    if is_installed():
        _check_root(_root(document, where=where), where)


def _root(document: bytes, *, where: str) -> "TrustedRoot":
    from sigstore_models.trustroot.v1 import TrustedRoot

    try:
        return TrustedRoot.from_json(document)
    except ValidationError as error:
        raise DocumentError(problems_of(error), where=where) from None


def _check_root(root: "TrustedRoot", where: str) -> None:
    """Every key and certificate is read: the library drops what it cannot read, and then nothing would verify."""
    for name, logs in (("tlogs", root.tlogs), ("ctlogs", root.ctlogs)):
        if not logs:
            raise DocumentError("names no log", where=f"{where}: {name}")
        for number, log in enumerate(logs):
            place = f"{where}: {name}.{number}.publicKey"
            _check_period(log.public_key.valid_for, place)
            try:
                load_der_public_key(log.public_key.raw_bytes or b"")
            except UNREADABLE:
                raise DocumentError("rawBytes is not a public key in DER", where=place) from None
    if not root.certificate_authorities:
        raise DocumentError("names no authority", where=f"{where}: certificateAuthorities")
    for number, authority in enumerate([*root.certificate_authorities, *root.timestamp_authorities]):
        place = f"{where}: authority {number}"
        _check_period(authority.valid_for, place)
        try:
            chain = [x509.load_der_x509_certificate(each.raw_bytes) for each in authority.cert_chain.certificates]
        except UNREADABLE:
            raise DocumentError("certChain has what is not a certificate in DER", where=place) from None
        if not chain:
            raise DocumentError("certChain is empty", where=place)


def _check_period(period: "TimeRange | None", where: str) -> None:
    ends = () if period is None else (period.start, period.end)
    if any(end is not None and end.tzinfo is None for end in ends):
        raise DocumentError("validFor is without a time zone", where=where)


def _verified(bundle: bytes, document: bytes, pins: "_Pins") -> Signed:
    from sigstore.models import Bundle, TrustedRoot
    from sigstore.verify import Verifier

    root = _root(document, where="trustRoot")
    try:
        taken = Bundle.from_json(bundle)
        leaf = taken.signing_certificate
        _check_issued(leaf, TrustedRoot(root).get_fulcio_certs())
        signed_at = _signed_at(bundle, taken)
        _check_dates(leaf, signed_at)
        in_use = TrustedRoot(_in_use(root, signed_at, _logged_at(leaf)))
        kind, payload = Verifier(trusted_root=in_use).verify_dsse(taken, pins)
        name, who = pins.of(leaf)
    except Unproven:
        raise
    except Exception as error:  # noqa: BLE001 - the library raises what it likes for what is hostile; it is no signature
        raise invalid(f"its signature does not verify: {_said(error)}") from None
    if kind != PAYLOAD_TYPE:
        raise invalid("payloadType is not in-toto's")
    return Signed(payload, name, f"{name} ({who})")


def _check_issued(leaf: x509.Certificate, authorities: Sequence[x509.Certificate]) -> None:
    for authority in authorities:
        try:
            leaf.verify_directly_issued_by(authority)
        except (InvalidSignature, ValueError, TypeError):
            continue
        return
    raise Unproven(Signature.UNKNOWN_AUTHORITY, "no authority of a declared trustRoot issued its certificate")


def _check_dates(leaf: x509.Certificate, signed: Sequence[datetime]) -> None:
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    for time in signed:
        if not start <= time <= end:
            dates = f"from {start.isoformat()} to {end.isoformat()}"
            raise invalid(f"its certificate was valid {dates}, and it was signed at {time.isoformat()}")


def _signed_at(bundle: bytes, taken: "Bundle") -> list[datetime]:
    """All times of signing that the bundle brings, trusted or not yet."""
    from sigstore_models.bundle.v1 import Bundle

    entries = Bundle.from_json(bundle).verification_material.tlog_entries
    times = [datetime.fromtimestamp(entry.integrated_time, UTC) for entry in entries if entry.integrated_time]
    tokens = taken.verification_material.timestamp_verification_data
    return times if tokens is None else times + [token.tst_info.gen_time for token in tokens.rfc3161_timestamps]


def _logged_at(leaf: x509.Certificate) -> list[datetime]:
    """When certificate logs say that they saw `leaf`."""
    try:
        listed = leaf.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
    except x509.ExtensionNotFound:
        return []
    return [seen.timestamp.replace(tzinfo=UTC) for seen in listed]


def _in_use(root: "TrustedRoot", signed: Sequence[datetime], logged: Sequence[datetime]) -> "TrustedRoot":
    """`root` with what it says was in use at all these times. The library takes what has long been retired, too."""
    return root.model_copy(
        update={
            "certificate_authorities": _held(
                root.certificate_authorities, lambda authority: authority.valid_for, signed, "authority"
            ),
            "tlogs": _held(root.tlogs, lambda log: log.public_key.valid_for, signed, "transparency log"),
            "ctlogs": _held(root.ctlogs, lambda log: log.public_key.valid_for, logged, "certificate log"),
        }
    )


def _held(
    instances: Sequence[_Instance],
    period_of: "Callable[[_Instance], TimeRange | None]",
    times: Sequence[datetime],
    what: str,
) -> list[_Instance]:
    held = [each for each in instances if all(_within(time, period_of(each)) for time in times)]
    if not held:
        when = ", ".join(sorted({time.isoformat() for time in times}))
        raise invalid(f"no {what} of the trustRoot was in use when it was signed ({when})")
    return held


def _within(time: datetime, period: "TimeRange | None") -> bool:
    return period is None or (period.start <= time and (period.end is None or time <= period.end))


class _Pins:
    """The publishers of one root, as sigstore-python's verification policy."""

    def __init__(self, pins: Mapping[str, Keyless]) -> None:
        self._pins = pins

    def verify(self, cert: x509.Certificate) -> None:
        """Raises Unproven unless `cert` names one of them; called once the authority is known to have issued it."""
        self.of(cert)

    def of(self, certificate: x509.Certificate) -> tuple[str, str]:
        """The consumer's name for whom `certificate` names, and what it says of them; raises Unproven."""
        names, issuer = names_in(certificate), _issuer(certificate)
        if len(names) != 1:
            raise invalid("its certificate does not name exactly one mail address or URI")
        who = f"{names[0]}, for whom {issuer} vouches"
        for name, pinned in sorted(self._pins.items()):
            if pinned.issuer == issuer and matches(pinned.identity, names[0]):
                return name, who
        raise Unproven(Signature.UNKNOWN_IDENTITY, f"signed by somebody who is not under publishers: {who}")


def _issuer(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.asn1 import decode_der

    said = set()
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.UnrecognizedExtension):
            if extension.oid == _ISSUER:
                said.add(extension.value.value.decode())
            elif extension.oid == _ISSUER_V2:
                said.add(decode_der(str, extension.value.value))
    if len(said) != 1:
        raise invalid("its certificate does not name exactly one issuer")
    return said.pop()


def _said(error: Exception) -> str:
    """What the library says, on one line."""
    for each in (error, error.__context__):
        if isinstance(each, ValidationError):
            return problems_of(each)
    return " ".join(str(error).split()) or type(error).__name__
