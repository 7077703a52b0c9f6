"""RFC 9162 trees, by known vectors and against the recursive definition."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peft_assay.store.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

# The eight-leaf tree that Certificate Transparency implementations test with.
INPUTS = [b"", b"\x00", b"\x10", b"\x20\x21", b"\x30\x31", bytes(range(0x40, 0x44)), bytes(range(0x50, 0x58)), bytes(range(0x60, 0x70))]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def naive_root(leaves: list[bytes]) -> bytes:
    """MTH of section 2.1.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(naive_root(leaves[:split]), naive_root(leaves[split:]))


def leaves_of(count: int) -> list[bytes]:
    return [leaf_hash(b"%d" % index) for index in range(count)]


def test_vectors() -> None:
    leaves = [leaf_hash(entry) for entry in INPUTS]
    assert [root(leaves[:count]).hex() for count in range(1, 9)] == ROOTS
    assert root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_root_is_the_definition_s() -> None:
    leaves = leaves_of(130)
    for count in range(131):
        assert root(leaves[:count]) == naive_root(leaves[:count])


@settings(deadline=None)
@given(st.integers(1, 70), st.data())
def test_inclusion(count: int, data) -> None:
    leaves = leaves_of(count)
    index = data.draw(st.integers(0, count - 1))
    proof, top = inclusion_proof(leaves, index), root(leaves)
    assert verify_inclusion(leaves[index], index, count, proof, top)
    other = data.draw(st.integers(-1, count + 1).filter(lambda n: n != index))
    assert not verify_inclusion(leaves[index], other, count, proof, top)
    assert not verify_inclusion(leaf_hash(b"another"), index, count, proof, top)
    assert not verify_inclusion(leaves[index], index, count, [*proof, top], top)
    assert not verify_inclusion(leaves[index], index, count, proof, leaf_hash(top))
    if proof:
        assert not verify_inclusion(leaves[index], index, count, proof[:-1], top)
        place = data.draw(st.integers(0, len(proof) - 1))
        bent = [*proof[:place], leaf_hash(b"bent"), *proof[place + 1 :]]
        assert not verify_inclusion(leaves[index], index, count, bent, top)


@settings(deadline=None)
@given(st.integers(1, 70), st.data())
def test_consistency(count: int, data) -> None:
    leaves = leaves_of(count)
    earlier = data.draw(st.integers(1, count))
    proof, before, after = consistency_proof(leaves, earlier), root(leaves[:earlier]), root(leaves)
    assert verify_consistency(earlier, count, proof, before, after)
    rewritten = [leaf_hash(b"rewritten"), *leaves[1:]]
    forged = consistency_proof(rewritten, earlier)
    assert not verify_consistency(earlier, count, forged, before, root(rewritten))
    assert not verify_consistency(earlier, count, [*proof, after], before, after)
    assert not verify_consistency(earlier, count, proof, leaf_hash(b"x"), after)
    assert not verify_consistency(earlier, count, proof, before, leaf_hash(b"x"))
    if earlier < count:
        assert not verify_consistency(earlier, count, [], before, after)
        assert not verify_consistency(earlier, count, proof[:-1], before, after)


def test_what_is_not_there_has_no_proof() -> None:
    leaves = leaves_of(3)
    for index in (-1, 3):
        with pytest.raises(ValueError):
            inclusion_proof(leaves, index)
    for earlier in (0, 4):
        with pytest.raises(ValueError):
            consistency_proof(leaves, earlier)
        assert not verify_consistency(earlier, 3, [], root(leaves), root(leaves))
