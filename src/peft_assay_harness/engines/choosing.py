"""The next token: the likeliest, or one drawn from a generator that belongs to the prompt and the draw."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch

from peft_assay_harness.engines.interface import Row, Sampling

Choose = Callable[[Any, Sequence[Row]], list[int]]
"""From logits of shape (rows, vocabulary) and the rows to token ids."""


def greedy(logits: Any, _: Sequence[Row]) -> list[int]:
    """Plain argmax."""
    chosen: list[int] = logits.argmax(-1).tolist()
    return chosen


class Nucleus:
    """Temperature and top-p (Holtzman et al., ICLR 2020), reproducible for each seed, prompt and draw in any batch."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._generators: dict[Row, Any] = {}

    def __call__(self, logits: Any, rows: Sequence[Row]) -> list[int]:
        """Inverse transform sampling in the order of token ids, with one number from the row's generator."""
        scores = logits.double() / self._sampling.temperature
        ranked, order = scores.softmax(-1).sort(dim=-1, descending=True)
        ranked[ranked.cumsum(-1) - ranked >= self._sampling.top_p] = 0.0
        kept = torch.zeros_like(ranked).scatter_(-1, order, ranked)
        reached = kept.cumsum(-1)
        drawn = torch.tensor([[self._number(row)] for row in rows], dtype=torch.float64)
        chosen = torch.searchsorted(reached, drawn * reached[:, -1:], right=True)[:, 0]
        # A draw at the very end of the last interval falls beyond it.
        last = scores.shape[-1] - 1 - kept.flip(-1).gt(0).double().argmax(-1)
        tokens: list[int] = torch.minimum(chosen, last).tolist()
        return tokens

    def _number(self, row: Row) -> float:
        """The next of the row's own numbers, uniform in [0, 1); always from the processor's generator."""
        if row not in self._generators:
            material = f"{self._sampling.seed} {row.draw} {' '.join(map(str, row.context))}"
            seed = int.from_bytes(hashlib.sha256(material.encode()).digest()[:8], "big") >> 1
            self._generators[row] = torch.Generator("cpu").manual_seed(seed)
        drawn = torch.rand(1, generator=self._generators[row], dtype=torch.float64, device="cpu")
        return float(drawn)


def chooser(sampling: Sampling | None) -> Choose:
    """Greedy where nothing else was asked for, or the temperature is 0."""
    return greedy if sampling is None or sampling.temperature <= 0 else Nucleus(sampling)
