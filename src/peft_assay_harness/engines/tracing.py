"""How a model sees tokens: along a text that it is given, and along its own answer while it chooses it."""

from collections.abc import Sequence
from typing import Any

import torch

from peft_assay_harness.engines.choosing import greedy
from peft_assay_harness.engines.interface import Row, Trace


def log_probabilities(logits: Any, tokens: Sequence[int]) -> Any:
    """Of `tokens` (one for each row of `logits`), natural logarithm."""
    chosen = logits.gather(1, torch.tensor(tokens)[:, None])[:, 0]
    return chosen - logits.logsumexp(-1)


def trace_of(logits: Any, tokens: Sequence[int], watch: Sequence[Sequence[int]] | None, top: int) -> Trace:
    """`Trace` of the wire protocol from logits of shape (tokens, vocabulary)."""
    scores = logits.log_softmax(-1)
    ids = scores.topk(min(top, scores.shape[-1]), dim=-1).indices.tolist() if watch is None else list(map(list, watch))
    return {
        "chosen": scores.gather(1, torch.tensor(tokens)[:, None])[:, 0].tolist(),
        "best": logits.argmax(-1).tolist(),
        "entropy": (-(scores.exp() * scores).nan_to_num(0.0).sum(-1)).tolist(),
        "ids": ids,
        "logProbabilities": [scores[at, wanted].tolist() for at, wanted in enumerate(ids)],
    }


def empty_trace() -> Trace:
    """Of a continuation without tokens."""
    return {name: [] for name in ("chosen", "best", "entropy", "ids", "logProbabilities")}


class Notes:
    """The greedy choice, with notes on each token: how it was seen, and by how much it led the next likeliest."""

    def __init__(self, top: int) -> None:
        """`top`: of how many tokens the log-probability is noted."""
        self._top = top
        self._traces: dict[Row, Trace] = {}
        self._leads: dict[Row, list[float]] = {}
        self._shown: dict[Row, list[float]] = {}

    def __call__(self, logits: Any, rows: Sequence[Row]) -> list[int]:
        """See `choosing.Choose`."""
        chosen = greedy(logits, rows)
        traces = trace_of(logits, chosen, None, self._top) if self._top else None
        for at, (row, lead) in enumerate(zip(rows, _leads(logits), strict=True)):
            self._leads.setdefault(row, []).append(lead)
            if traces is not None:
                trace = self._traces.setdefault(row, empty_trace())
                for name, values in traces.items():
                    trace[name].append(values[at])
        return chosen

    def saw(self, row: Row, logits: Any) -> None:
        """A draft's positions, of which the first may become the row's answer without being chosen."""
        self._shown[row] = _leads(logits)

    def trace(self, row: Row) -> Trace:
        """Along the answer; it has no token that was not chosen where there was no draft."""
        return self._traces.get(row) or empty_trace()

    def leads(self, row: Row, answer: Sequence[int]) -> list[float]:
        """By how many nats each token of `answer` led; 0 where that is no number."""
        chosen = self._leads.get(row, [])
        return [*self._shown.get(row, [])[: len(answer) - len(chosen)], *chosen]


def _leads(logits: Any) -> list[float]:
    """For logits of shape (tokens, vocabulary), the likeliest less the next; 0 for what is not a number."""
    best = logits.topk(min(2, logits.shape[-1]), dim=-1).values
    leads: list[float] = (best[:, 0] - best[:, -1]).nan_to_num(0.0).tolist()
    return leads
