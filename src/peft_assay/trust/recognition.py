"""Which withdrawals in force are of an adapter that does the same: one answer for issuing and for the gate.

Nothing is computed where no withdrawal in force has a function. Where one has: the function's digest first, then the
spectra, which need no nonce, and a sketch only for those that the spectra leave: the cost hardly grows with the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from peft_assay.core.certificate import Revocation, RevocationList
from peft_assay.core.digest import Digest
from peft_assay.core.errors import DocumentError, TrustError
from peft_assay.fingerprint.interface import Word

if TYPE_CHECKING:
    from peft_assay.fingerprint.fingerprint import Fingerprint


def recognised(found: RevocationList, files: Mapping[str, bytes]) -> tuple[Revocation, ...]:
    """Return the entries of `found` whose function the adapter in `files` has, in list order.

    Raises `fingerprint.interface.Uncomputable` where the adapter has more than one reading: it may be any of them.
    Raises TrustError where the list carries a malformed fingerprint.
    """
    entries = tuple(entry for entry in found.revocations if entry.function is not None)
    if not entries:
        return ()
    from peft_assay.fingerprint.digest import function_digest  # this imports numpy, which most lists do not need

    digest = function_digest(files)
    alike = _alike(found, files)
    return tuple(
        entry
        for entry in entries
        if (function := entry.function) and (function.digest == digest or function.fingerprint in alike)
    )


def resemblances(found: RevocationList, files: Mapping[str, bytes]) -> tuple[tuple[Revocation, Word], ...]:
    """Return the relation of the adapter in `files` to each withdrawn one: equal, near or crafted; others are left out.

    Raises the same errors as `recognised`. Costs a sketch for every entry with a fingerprint.
    """
    signed = [(entry, entry.function) for entry in found.revocations if entry.function is not None]
    if not signed:
        return ()
    from peft_assay.fingerprint.compare import judge
    from peft_assay.fingerprint.digest import function_digest
    from peft_assay.fingerprint.sketch import prints_of

    digest, taken = function_digest(files), _taken(found)
    prints = prints_of(files, [withdrawn.nonce for withdrawn in taken.values()]) if taken else {}
    words = {name: judge(withdrawn, prints, number) for number, (name, withdrawn) in enumerate(taken.items())}
    judged = []
    for entry, function in signed:
        same, kept = function.digest == digest, function.fingerprint
        judged.append((entry, Word.EQUAL if same else words[kept] if kept is not None else Word.OTHER))
    return tuple((entry, word) for entry, word in judged if word is not Word.OTHER)


def _taken(found: RevocationList) -> dict[Digest, Fingerprint]:
    from peft_assay.fingerprint.fingerprint import from_bytes

    try:
        return {digest: from_bytes(content) for digest, content in found.fingerprints.items()}
    except DocumentError as error:
        raise TrustError(error.message, where="revocation list: fingerprint") from None


def _alike(found: RevocationList, files: Mapping[str, bytes]) -> frozenset[Digest]:
    """Return the fingerprints in `found` that `files` equal."""
    from peft_assay.fingerprint.compare import judge, may_equal
    from peft_assay.fingerprint.sketch import prints_of

    if not found.fingerprints:
        return frozenset()
    taken = _taken(found)
    spectra = prints_of(files)
    left = {digest: withdrawn for digest, withdrawn in taken.items() if may_equal(withdrawn, spectra)}
    prints = prints_of(files, [withdrawn.nonce for withdrawn in left.values()]) if left else spectra
    return frozenset(
        digest for number, (digest, w) in enumerate(left.items()) if judge(w, prints, number) is Word.EQUAL
    )
