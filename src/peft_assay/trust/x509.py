"""Publishers whom an authority of the consumer's certifies: an X.509 chain, no Sigstore.

Such a bundle has no trusted time: nothing but the signer says when it was signed, and the library that writes it takes
the moment at which the certificate begins. Here the certificate must be valid when it is looked at. Whether it was
revoked is not asked: that would need the network.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from peft_assay.core.errors import DocumentError
from peft_assay.core.publisher import Certified, Identity
from peft_assay.trust.identities import UNREADABLE, matches, names_in
from peft_assay.trust.signatures import CURVES, Envelope, Signature, Signed, Unproven, decode, invalid, member

MAX_CHAIN = 10
"""Certificates of a bundle; authorities rarely have more than two levels."""


def verify_x509(envelope: Envelope, material: Any, publishers: Mapping[str, Certified], now: datetime | None) -> Signed:
    """`envelope` by the chain of `material`, and which of `publishers` signed it; raises Unproven, DocumentError."""
    if not publishers or now is None:
        reason = "signed with a certificate, and nothing under publishers has authorities to verify it by"
        raise Unproven(Signature.NOT_VERIFIED, reason)
    try:
        leaf, *others = _chain(material)
        key, names, subject = _check_leaf(leaf, now), names_in(leaf), leaf.subject.rfc4514_string()
        problems = {name: _chain_problem(leaf, others, each, now, name) for name, each in publishers.items()}
    except UNREADABLE as error:
        raise invalid(f"its certificate cannot be read: {error}") from None
    if not envelope.is_signed_by(key):
        raise invalid("the certificate's key did not sign it")
    trusted = sorted(name for name, problem in problems.items() if problem is None)
    if not trusted:
        why = "; ".join(sorted({problem for problem in problems.values() if problem is not None}))
        reason = f"no authority under publishers leads to its certificate: {why}"
        raise Unproven(Signature.UNKNOWN_AUTHORITY, reason)
    for name in trusted:
        if (found := _named(publishers[name].identity, names, subject)) is not None:
            return Signed(envelope.payload, name, f"{name} ({found})")
    said = ", ".join(names or (subject,))
    raise Unproven(Signature.UNKNOWN_IDENTITY, f"signed by somebody who is not under publishers: {said}")


def _named(identity: Identity, names: Sequence[str], subject: str) -> str | None:
    """Whom the certificate names and `identity` means.

    A certificate without alternative names is known by its whole subject (RFC 4514). No pattern is for that: the parts
    of a subject are not all chosen by the authority.
    """
    if names:
        return next((name for name in names if matches(identity, name)), None)
    return subject if not identity.pattern and subject == identity.text else None


def read_authorities(pem: bytes, *, where: str) -> list[x509.Certificate]:
    """The certificates in `pem`, at least one; raises DocumentError."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except UNREADABLE:
        raise DocumentError("is not a list of certificates in PEM", where=where) from None


def _chain(material: Any) -> list[x509.Certificate]:
    listed = member(member(material, "x509CertificateChain", dict), "certificates", list)
    if not 1 <= len(listed) <= MAX_CHAIN:
        raise invalid(f"there are {len(listed)} certificates, not 1 to {MAX_CHAIN}")
    return [x509.load_der_x509_certificate(decode(member(each, "rawBytes", str))) for each in listed]


def _check_leaf(leaf: x509.Certificate, now: datetime) -> ec.EllipticCurvePublicKey:
    """Its key, its dates, and that it is for signing: a certificate of a web server of the same authority is not."""
    start, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if not start <= now <= end:
        raise invalid(f"its certificate is valid from {start.isoformat()} to {end.isoformat()}, which is not now")
    if not leaf.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature:
        raise invalid("its certificate is not for signatures (keyUsage)")
    for extension in leaf.extensions:
        usage = extension.value
        if isinstance(usage, x509.ExtendedKeyUsage) and ExtendedKeyUsageOID.CODE_SIGNING not in usage:
            raise invalid("its certificate is not for signing code (extendedKeyUsage)")
    key = leaf.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
        raise invalid("its certificate is not for a key that model-signing signs with (P-256, P-384, P-521)")
    return key


def _chain_problem(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], publisher: Certified, now: datetime, name: str
) -> str | None:
    """Why no path of certificates valid at `now` leads from the publisher's authorities to `leaf` (RFC 5280)."""
    # Imported here: its makers do not promise yet that its interface stays.
    from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

    authorities = read_authorities(publisher.authorities, where=f"publishers.{name}.authorities")
    # The defaults are the web's: certificates are for clients, and have alternative names. The use is checked above.
    ca = ExtensionPolicy.webpki_defaults_ca().may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, None)
    ee = (
        ExtensionPolicy.webpki_defaults_ee()
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, None)
        .may_be_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    )
    builder = PolicyBuilder().store(Store(authorities)).time(now).extension_policies(ca_policy=ca, ee_policy=ee)
    try:
        builder.build_client_verifier().verify(leaf, list(others))
    except VerificationError as error:
        return str(error)
    return None
