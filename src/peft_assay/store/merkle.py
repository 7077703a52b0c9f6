"""Merkle trees of RFC 9162 section 2.1 over SHA-256: leaves, nodes and roots, each 32 raw bytes."""

import hashlib
from collections.abc import Sequence


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a leaf: SHA-256(0x00 || entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 || left || right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Root over leaf hashes in linear time; for none, SHA-256 of nothing."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    peaks: list[bytes] = []
    for index, leaf in enumerate(leaves):
        node, size = leaf, index
        while size & 1:
            node = node_hash(peaks.pop(), node)
            size >>= 1
        peaks.append(node)
    node = peaks.pop()
    while peaks:
        node = node_hash(peaks.pop(), node)
    return node
