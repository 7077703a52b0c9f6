"""A sample of real traffic: strata kept in proportion, repeats taken once, chosen by digests alone."""

import re
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest
from peft_assay.core.suite import Message

Conversation = tuple[Message, ...]
Key = TypeVar("Key", bound=Hashable)
_DIGITS = re.compile(r"[0-9]+")


def distinct(conversations: Sequence[Conversation]) -> list[int]:
    """Indices of the conversations without repeats, exact or but for letter case, white space and numbers."""
    seen: dict[tuple[tuple[str, str], ...], int] = {}
    for number, conversation in enumerate(conversations):
        seen.setdefault(tuple((turn.role, _normal(turn.content)) for turn in conversation), number)
    return sorted(seen.values())


def _normal(text: str) -> str:
    return _DIGITS.sub("0", " ".join(text.casefold().split()))


def stratum_of(conversation: Conversation) -> tuple[str, int, int]:
    """Which system prompt, how long (by doublings of characters), how many turns (1, 2, 3 to 4, 5 to 8, ...)."""
    system = conversation[0].content if conversation[0].role == "system" else ""
    length = sum(len(turn.content) for turn in conversation if turn.role != "system")
    turns = sum(turn.role == "user" for turn in conversation)
    return canonical_digest(system), length.bit_length(), (turns - 1).bit_length()


def sample(conversations: Sequence[Conversation], n: int, seed: Digest) -> list[int]:
    """Indices of `n` of the conversations (all where there are no more), in their own order."""
    strata: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    for number, conversation in enumerate(conversations):
        strata[stratum_of(conversation)].append(number)
    shares = allocate({stratum: len(members) for stratum, members in strata.items()}, n)
    chosen: list[int] = []
    for stratum, members in strata.items():
        ranked = sorted(members, key=lambda at: canonical_digest([seed, [t.content for t in conversations[at]]]))
        chosen.extend(ranked[: shares[stratum]])
    return sorted(chosen)


def allocate(sizes: Mapping[Key, int], n: int) -> dict[Key, int]:
    """`n` divided over strata in proportion to their sizes (largest remainders), each with one where `n` suffices."""
    total = sum(sizes.values())
    if total <= n:
        return dict(sizes)
    order = sorted(sizes, key=lambda key: (-sizes[key], repr(key)))
    if n <= len(order):
        return {key: int(rank < n) for rank, key in enumerate(order)}
    spare, left = n - len(order), total - len(order)
    quotas = {key: spare * (size - 1) / left for key, size in sizes.items()}
    shares = {key: 1 + int(quota) for key, quota in quotas.items()}
    by_remainder = sorted(order, key=lambda key: (int(quotas[key]) - quotas[key], repr(key)))
    for key in by_remainder[: n - sum(shares.values())]:
        shares[key] += 1
    return shares
