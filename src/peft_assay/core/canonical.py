"""Canonical bytes: the one way in which a document is hashed or signed (RFC 8785, JSON Canonicalization Scheme)."""

from collections.abc import Mapping, Sequence
from typing import Any

import rfc8785

from peft_assay.core.digest import Digest, sha256

MAX_EXACT_INTEGER = 2**53 - 1
"""The largest integer that JSON readers with doubles only (RFC 8259, section 6) read exactly."""
JSON = None | bool | int | float | str | Sequence[Any] | Mapping[str, Any]


def canonical_bytes(document: JSON) -> bytes:
    """RFC 8785 bytes of `document`.

    Raises ValueError for what JSON cannot say exactly (NaN, infinities, integers beyond 2**53 - 1), so that nothing
    lossy is ever signed.
    """
    try:
        return rfc8785.dumps(document)
    except rfc8785.CanonicalizationError as error:
        raise ValueError(str(error)) from error


def canonical_digest(document: JSON) -> Digest:
    """sha256 over the canonical bytes of `document`."""
    return sha256(canonical_bytes(document))


def typed_digest(document: JSON) -> Digest:
    """sha256 over `document` with fractions told from whole numbers: RFC 8785 spells both 9 and 9.0 as 9."""
    return canonical_digest(_typed(document))


def _typed(value: Any) -> Any:
    if isinstance(value, float):
        return {"double": value}
    if isinstance(value, dict):
        return {key: _typed(child) for key, child in value.items()}
    return [_typed(child) for child in value] if isinstance(value, list) else value
