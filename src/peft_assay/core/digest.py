"""Digests: the only identities in the system. Names never identify."""

import hashlib
import re
from typing import NewType

Digest = NewType("Digest", str)
"""A full sha256 as ``sha256:`` + 64 lower-case hex digits."""

_FORM = re.compile(r"sha256:[0-9a-f]{64}")


def sha256(content: bytes) -> Digest:
    """Digest of exactly these bytes."""
    return Digest("sha256:" + hashlib.sha256(content).hexdigest())


def parse_digest(text: str) -> Digest:
    """`text` as a Digest; raises ValueError unless it is one in full (no prefixes, no other algorithm)."""
    if not _FORM.fullmatch(text):
        raise ValueError(f"not a full sha256 digest: {text!r}")
    return Digest(text)


def hex_of(digest: Digest) -> str:
    """The 64 hex digits, as in-toto's ``{"sha256": ...}`` wants them."""
    return digest.removeprefix("sha256:")
