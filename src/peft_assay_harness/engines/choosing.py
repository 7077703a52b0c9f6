"""The next token: the likeliest, or one drawn from a generator that belongs to the prompt."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import torch

from peft_assay_harness.engines.interface import Sampling, Tokens

Choose = Callable[[Any, Sequence[Tokens]], list[int]]
"""From logits of shape (rows, vocabulary) and each row's prompt to token ids."""


def greedy(logits: Any, _: Sequence[Tokens]) -> list[int]:
    """Plain argmax."""
    chosen: list[int] = logits.argmax(-1).tolist()
    return chosen


class Nucleus:
    """Temperature and top-p (Holtzman et al., ICLR 2020), reproducible for each seed and prompt in any batch."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._generators: dict[Tokens, Any] = {}

    def __call__(self, logits: Any, prompts: Sequence[Tokens]) -> list[int]:
        """Inverse transform sampling in the order of token ids, with one number from the prompt's generator."""
        scores = logits.double() / self._sampling.temperature
        ranked, order = scores.softmax(-1).sort(dim=-1, descending=True)
        ranked[ranked.cumsum(-1) - ranked >= self._sampling.top_p] = 0.0
        kept = torch.zeros_like(ranked).scatter_(-1, order, ranked)
        reached = kept.cumsum(-1)
        drawn = torch.cat([torch.rand(1, 1, generator=self._of(prompt), dtype=torch.float64) for prompt in prompts])
        chosen = torch.searchsorted(reached, drawn * reached[:, -1:], right=True)[:, 0]
        # A draw at the very end of the last interval falls beyond it.
        last = scores.shape[-1] - 1 - kept.flip(-1).gt(0).double().argmax(-1)
        tokens: list[int] = torch.minimum(chosen, last).tolist()
        return tokens

    def _of(self, prompt: Tokens) -> Any:
        if prompt not in self._generators:
            material = f"{self._sampling.seed} {' '.join(map(str, prompt))}"
            seed = int.from_bytes(hashlib.sha256(material.encode()).digest()[:8], "big") >> 1
            self._generators[prompt] = torch.Generator().manual_seed(seed)
        return self._generators[prompt]


def chooser(sampling: Sampling | None) -> Choose:
    """Greedy where nothing else was asked for, or the temperature is 0."""
    return greedy if sampling is None or sampling.temperature <= 0 else Nucleus(sampling)
