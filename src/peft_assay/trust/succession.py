"""How revocation lists follow one another: nothing that one of them says is ever left out by a later one.

A list names the list before it by digest, and so vouches for its bytes. One that was made where two histories met names
the other one's last list too, as merged, and says all that either of them says.
"""

from collections.abc import Callable, Sequence

from peft_assay.core.digest import Digest
from peft_assay.core.errors import TrustError
from peft_assay.trust.revocations import RevocationRecord

Fetch = Callable[[Digest], RevocationRecord | None]
"""The list with this digest, None where it is not at hand."""
MERGE = "peft-assay revoke --refresh signs one list that says all that both say"


def check_successor(previous: RevocationRecord, following: RevocationRecord) -> None:
    """Raise TrustError unless `following` continues `previous`, or merges it: with all its entries, and later."""
    where = f"revocation list {following.list.sequence}"
    merges = previous.list.envelope in following.merged
    if following.previous != previous.list.envelope and not merges:
        raise TrustError("it does not follow the list before it", where=where)
    numbered = following.list.sequence == previous.list.sequence + 1
    if not (numbered or (merges and following.list.sequence > previous.list.sequence)):
        raise TrustError("it does not follow the list before it", where=where)
    if following.list.issued_at < previous.list.issued_at:
        raise TrustError("it is older than the list before it", where=where)
    if not _kept(previous, following, in_order=not merges):
        raise TrustError("a withdrawal, a lift or a reversal of the list before it was dropped", where=where)


def contains(larger: RevocationRecord, smaller: RevocationRecord) -> bool:
    """Whether `larger` says all that `smaller` says."""
    return _kept(smaller, larger, in_order=False)


def check_descent(newest: RevocationRecord, since: Digest | None, fetch: Fetch) -> None:
    """Raise TrustError unless `newest` continues the list `since` step by step; None: the first list of its history.

    Every list on the way must be at hand, and keep the entries of the one before it.
    """
    if newest.list.envelope == since or _leads_back(newest, since, fetch):
        return
    where = f"revocation list {newest.list.sequence}"
    if since is None:
        raise TrustError("lists between it and the first one are not at hand", where=where)
    raise TrustError(f"it does not continue the list that was seen before, {since}", where=where, next_step=MERGE)


def descends(newest: RevocationRecord, since: RevocationRecord, fetch: Fetch) -> bool:
    """Whether `newest` is `since`, or continues it step by step; raises TrustError for a step that drops something."""
    if newest.list.envelope == since.list.envelope:
        return True
    return newest.list.sequence > since.list.sequence and _leads_back(newest, since.list.envelope, fetch)


def beginning(record: RevocationRecord, fetch: Fetch) -> Digest | None:
    """Return the first list of the history of `record`; None where a list on the way is not at hand."""
    while record.previous is not None:
        before = fetch(record.previous)
        if before is None:
            return None
        record = before
    return record.list.envelope


def ancestors(record: RevocationRecord, fetch: Fetch) -> list[RevocationRecord]:
    """Return every list at hand that `record` continues or merges, each once."""
    found: dict[Digest, RevocationRecord] = {}
    waiting = [record]
    while waiting:
        for parent in _parents(waiting.pop()):
            if parent not in found and (before := fetch(parent)) is not None:
                found[parent] = before
                waiting.append(before)
    return list(found.values())


def _leads_back(newest: RevocationRecord, since: Digest | None, fetch: Fetch) -> bool:
    waiting, met = [newest], {newest.list.envelope}
    while waiting:
        following = waiting.pop()
        if since is None and following.previous is None:
            return True
        for parent in _parents(following):
            if parent in met or (before := fetch(parent)) is None:
                continue
            met.add(parent)
            check_successor(before, following)
            if parent == since:
                return True
            waiting.append(before)
    return False


def _parents(record: RevocationRecord) -> Sequence[Digest]:
    return (*record.merged, *(() if record.previous is None else (record.previous,)))


def _kept(before: RevocationRecord, after: RevocationRecord, *, in_order: bool) -> bool:
    pairs = ((before.entries, after.entries), (before.lifts, after.lifts), (before.reversals, after.reversals))
    if in_order:
        return all(later[: len(earlier)] == earlier for earlier, later in pairs)
    return all(item in later for earlier, later in pairs for item in earlier)
