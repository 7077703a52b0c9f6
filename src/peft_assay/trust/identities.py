"""Whom an X.509 certificate names, and whether that is whom the consumer means."""

from typing import Any

import re2
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from peft_assay.core.errors import DocumentError
from peft_assay.core.publisher import Identity

UNREADABLE = (
    ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.ExtensionNotFound, x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)  # fmt: skip
"""What reading a certificate raises that is none, or not of this kind: these have no class of their own."""
_KINDS = (x509.RFC822Name, x509.UniformResourceIdentifier, x509.DNSName)
_MAX_PATTERN_MEMORY = 1 << 20


def names_in(certificate: x509.Certificate) -> tuple[str, ...]:
    """The mail addresses, URIs and DNS names of the subject alternative name, of which there may be none."""
    try:
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(entry.value for entry in listed if isinstance(entry, _KINDS))


def matches(identity: Identity, name: str) -> bool:
    """Whether `name` is, as a whole, the one that `identity` means."""
    if not identity.pattern:
        return identity.text == name
    return compiled(identity.text, where="identityPattern").fullmatch(name) is not None


def compiled(pattern: str, *, where: str) -> Any:
    """`pattern` compiled by RE2; raises DocumentError."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_PATTERN_MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error:
        raise DocumentError("is not a pattern that RE2 accepts", where=where) from None
