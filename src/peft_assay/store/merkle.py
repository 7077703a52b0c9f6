"""Merkle trees of RFC 9162 section 2.1 over SHA-256: roots, inclusion proofs and consistency proofs.

All hashes are 32 raw bytes; proofs are lists of them, in the order of the RFC. Verification needs only the proof, the
roots and the sizes.
"""

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


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """PATH(index, leaves), 2.1.3.1; raises ValueError when there is no such leaf."""
    if not 0 <= index < len(leaves):
        raise ValueError(f"no leaf {index} among {len(leaves)}")
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion_proof(leaves[:split], index), root(leaves[split:])]
    return [*inclusion_proof(leaves[split:], index - split), root(leaves[:split])]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> bool:
    """Whether `proof` shows `leaf` at `index` in the tree of `size` leaves with root `expected` (2.1.3.2)."""
    if not 0 <= index < size:
        return False
    position, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            while position and not position & 1:
                position >>= 1
                last >>= 1
        else:
            node = node_hash(node, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and node == expected


def consistency_proof(leaves: Sequence[bytes], earlier: int) -> list[bytes]:
    """PROOF(earlier, leaves), 2.1.4.1; raises ValueError unless 0 < earlier <= len(leaves)."""
    if not 0 < earlier <= len(leaves):
        raise ValueError(f"no earlier tree of {earlier} leaves among {len(leaves)}")
    return _subproof(leaves, earlier, complete=True)


def verify_consistency(earlier: int, later: int, proof: Sequence[bytes], before: bytes, after: bytes) -> bool:
    """Whether `proof` shows the tree (`later`, `after`) to extend the tree (`earlier`, `before`) (2.1.4.2)."""
    if not 0 < earlier <= later:
        return False
    if earlier == later:
        return not proof and before == after
    path = [before, *proof] if earlier & (earlier - 1) == 0 else list(proof)
    if not path:
        return False
    position, last = earlier - 1, later - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old = new = path[0]
    for node in path[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            old, new = node_hash(node, old), node_hash(node, new)
            while position and not position & 1:
                position >>= 1
                last >>= 1
        else:
            new = node_hash(new, node)
        position >>= 1
        last >>= 1
    return last == 0 and (old, new) == (before, after)


def _subproof(leaves: Sequence[bytes], earlier: int, *, complete: bool) -> list[bytes]:
    if earlier == len(leaves):
        return [] if complete else [root(leaves)]
    split = _split(len(leaves))
    if earlier <= split:
        return [*_subproof(leaves[:split], earlier, complete=complete), root(leaves[split:])]
    return [*_subproof(leaves[split:], earlier - split, complete=False), root(leaves[:split])]


def _split(size: int) -> int:
    """The largest power of two smaller than `size`."""
    return 1 << ((size - 1).bit_length() - 1)
