"""Which rows are computed together: by length, within bounds, padded on the right."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")

MAX_BATCH_TOKENS = 4096
MAX_LOGIT_ELEMENTS = 1 << 26
"""Logits at the wanted positions of one batch take at most this much (256 MiB in float32)."""


def batches(
    items: Sequence[Item], length: Callable[[Item], int], cost: Callable[[Item], int], *, alike: bool = False
) -> Iterator[list[Item]]:
    """Items by length, in batches whose padded cost stays within MAX_BATCH_TOKENS (at least one item each).

    `alike`: all items of a batch have the same length.
    """
    batch: list[Item] = []
    dearest = 0
    for item in sorted(items, key=length):
        dearest = max(dearest, cost(item))
        other = alike and batch and length(item) != length(batch[-1])
        if batch and (other or (len(batch) + 1) * dearest > MAX_BATCH_TOKENS):
            yield batch
            batch, dearest = [], cost(item)
        batch.append(item)
    if batch:
        yield batch


def logit_cost(wanted: int, vocabulary: int) -> int:
    """What logits at so many positions cost, in the tokens of a batch."""
    return wanted * vocabulary * MAX_BATCH_TOKENS // MAX_LOGIT_ELEMENTS


def padded(rows: Sequence[Sequence[int]], filler: int = 0) -> tuple[Any, Any]:
    """Token ids and attention mask, both int64 of shape (rows, longest)."""
    longest = max(map(len, rows))
    tokens = torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return tokens, mask
