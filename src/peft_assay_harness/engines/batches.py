"""Which rows are computed together: by length, within bounds, padded on the right."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch

Item = TypeVar("Item")

PASS_TOKENS = 512
"""Of one pass: enough for the products to be large, and intermediate results still fit a CPU's caches. On a base of 34
million parameters a token was measured to cost the same in passes of 256 and 512, a tenth more in 128 and in 1024."""
PADDING = 32
"""Of one batch, in all: about what a pass costs beside its tokens (reading the weights, calling the layers)."""
DECODE_TOKENS = 4096
"""Of a batch that is answered token by token, where every step reads all weights for few tokens."""
READ_AT_ONCE = 1024
"""Of such a batch where it has to be read in a single pass."""
MAX_LOGIT_ELEMENTS = 1 << 26
"""Logits at the wanted positions of one pass take at most this much (256 MiB in float32)."""


def batches(
    items: Sequence[Item],
    length: Callable[[Item], int],
    cost: Callable[[Item], int],
    *,
    size: int = PASS_TOKENS,
    padding: int = PADDING,
    alike: bool = False,
) -> Iterator[list[Item]]:
    """Items by length, in batches whose padded cost stays within `size` (at least one item each).

    A batch ends, too, where one more item would have it padded by more than `padding`. `alike`: all items of a
    batch have the same length.
    """
    batch: list[Item] = []
    dearest = summed = 0
    for item in sorted(items, key=length):
        own = cost(item)
        width, count = max(dearest, own), len(batch) + 1
        other = alike and batch and length(item) != length(batch[-1])
        if batch and (other or count * width > size or count * width - summed - own > padding):
            yield batch
            batch, width, summed = [], own, 0
        dearest, summed = width, summed + own
        batch.append(item)
    if batch:
        yield batch


def logit_cost(wanted: int, vocabulary: int) -> int:
    """What logits at so many positions cost, in the tokens of a pass."""
    return wanted * vocabulary * PASS_TOKENS // MAX_LOGIT_ELEMENTS


def padded(rows: Sequence[Sequence[int]], filler: int = 0) -> tuple[Any, Any]:
    """Token ids and attention mask, both int64 of shape (rows, longest)."""
    longest = max(map(len, rows))
    tokens = torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return tokens, mask
