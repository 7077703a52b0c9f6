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


class Drawn:
    """A deployment's decoding, in the order of transformers' own processors; greedy at temperature 0.

    Repetition penalty (Keskar et al., 2019), temperature, top-k, top-p (Holtzman et al., ICLR 2020), min-p.
    Reproducible for each seed, prompt and draw in any batch. One of these sees every token of an answer: it chose them.
    """

    def __init__(self, sampling: Sampling, *, prompt_counts: bool) -> None:
        """Take `prompt_counts`: whether the repetition penalty is on the prompt's tokens too (not with an encoder)."""
        self._sampling = sampling
        self._prompt_counts = prompt_counts
        self._generators: dict[Row, Any] = {}
        self._said: dict[Row, set[int]] = {}

    def __call__(self, logits: Any, rows: Sequence[Row]) -> list[int]:
        """Return the next token of each row."""
        scores = self._penalised(logits.double(), rows)
        tokens: list[int] = scores.argmax(-1).tolist() if self._sampling.temperature <= 0 else self._drawn(scores, rows)
        if self._sampling.repetition_penalty != 1.0:
            for row, token in zip(rows, tokens, strict=True):
                self._said[row].add(token)
        return tokens

    def _penalised(self, scores: Any, rows: Sequence[Row]) -> Any:
        """Return the scores of tokens that occurred before, divided by the penalty where they are positive, else
        multiplied.
        """
        penalty = self._sampling.repetition_penalty
        if penalty == 1.0:
            return scores
        for at, row in enumerate(rows):
            said = torch.tensor(sorted(self._said.setdefault(row, set(row.context if self._prompt_counts else ()))))
            if len(said):
                before = scores[at, said]
                scores[at, said] = torch.where(before > 0, before / penalty, before * penalty)
        return scores

    def _drawn(self, scores: Any, rows: Sequence[Row]) -> list[int]:
        """Inverse transform sampling in the order of token ids, with one number from the row's generator."""
        scores = scores / self._sampling.temperature
        if 0 < self._sampling.top_k < scores.shape[-1]:
            least = scores.topk(self._sampling.top_k).values[:, -1:]
            scores = scores.masked_fill(scores < least, -torch.inf)
        ranked, order = scores.softmax(-1).sort(dim=-1, descending=True)
        ranked[ranked.cumsum(-1) - ranked >= self._sampling.top_p] = 0.0
        ranked[ranked < self._sampling.min_p * ranked[:, :1]] = 0.0
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


def chooser(sampling: Sampling | None, *, prompt_counts: bool) -> Choose:
    """Return a chooser; plain argmax where no other setting is given, or where no setting can change the result."""
    if sampling is None or (sampling.temperature <= 0 and sampling.repetition_penalty == 1.0):
        return greedy
    return Drawn(sampling, prompt_counts=prompt_counts)
