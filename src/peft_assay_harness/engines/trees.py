"""Choices as branches of one row: the context once, then each continuation, which sees the context and itself.

A 4-D mask says who sees whom, and explicit position numbers let every branch begin where the context ends. Prefix
trees are how speculative decoding checks many continuations in one pass (Miao et al., SpecInfer, ASPLOS 2024).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from peft_assay_harness.engines.interface import Row, Tokens

MAX_TREE = 2048
"""Tokens of one row: its mask takes the square of that."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A context and the continuations that are tried after it; all but a continuation's last token are inputs."""

    context: Tokens
    rows: tuple[Row, ...]

    @property
    def size(self) -> int:
        """Input tokens."""
        return len(self.context) + sum(len(row.continuation) - 1 for row in self.rows)

    def beside_others(self) -> Iterator[Row]:
        """Rows of which something stands behind another branch's tokens: all others are what they are in any layout."""
        others = False
        for row in self.rows:
            branches = len(row.continuation) > 1
            if branches and others:
                yield row
            others = others or branches

    @property
    def wanted(self) -> int:
        """Positions whose logits are wanted."""
        return sum(len(row.continuation) for row in self.rows)


def grow(rows: Sequence[Row]) -> list[Tree]:
    """Rows by context; a context with more branches than fit is repeated."""
    by_context: dict[Tokens, list[Row]] = {}
    for row in rows:
        by_context.setdefault(row.context, []).append(row)
    return [Tree(context, part) for context, branches in by_context.items() for part in _parts(context, branches)]


def _parts(context: Tokens, rows: Sequence[Row]) -> Iterator[tuple[Row, ...]]:
    part: list[Row] = []
    size = len(context)
    for row in rows:
        added = len(row.continuation) - 1
        # Branches do not see each other, but attention computes as if they did: no more of them than of the context.
        if part and size + added > min(MAX_TREE, max(2 * len(context), 256)):
            yield tuple(part)
            part, size = [], len(context)
        part.append(row)
        size += added
    if part:
        yield tuple(part)


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch of trees as a model takes it, and where the logits of all continuations are, tree by tree."""

    tokens: Any
    positions: Any
    mask: Any
    places: list[tuple[int, int]]


def pack(trees: Sequence[Tree], dtype: Any) -> Packed:
    """Trees of any sizes; the mask is added to attention scores and has their `dtype`."""
    longest = max(tree.size for tree in trees)
    tokens = torch.zeros((len(trees), longest), dtype=torch.long)
    positions = torch.zeros((len(trees), longest), dtype=torch.long)
    sees = torch.zeros((len(trees), longest, longest), dtype=torch.bool)
    triangle = torch.ones((longest, longest), dtype=torch.bool).tril()
    places: list[tuple[int, int]] = []
    for index, tree in enumerate(trees):
        start = len(tree.context)
        tokens[index, :start] = torch.tensor(tree.context)
        positions[index, :start] = torch.arange(start)
        sees[index, :start, :start] = triangle[:start, :start]
        at = start
        for row in tree.rows:
            size = len(row.continuation) - 1
            branch = slice(at, at + size)
            tokens[index, branch] = torch.tensor(row.continuation[:-1], dtype=torch.long)
            positions[index, branch] = torch.arange(start, start + size)
            sees[index, branch, :start] = True
            sees[index, branch, branch] = triangle[:size, :size]
            places += [(index, start - 1 - longest), *((index, at + step - longest) for step in range(size))]
            at += size
        sees[index, at:, 0] = True  # padding must see something: a row of nothing but minima is not a number
    mask = torch.zeros(sees.shape, dtype=dtype).masked_fill_(~sees, torch.finfo(dtype).min)
    return Packed(tokens, positions, mask[:, None], places)
