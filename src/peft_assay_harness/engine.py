"""Batched forward passes whose results do not depend on the batch, for a bare base and for every adapter type.

Rows are padded on the right and go through PEFT's own forward, which puts virtual tokens (prompt, prefix, p-tuning)
in front of the row: position numbers are then those of a row alone, for every adapter type, and no real token attends
to padding. While generating, padding stays in the cache as masked slots, and positions are given explicitly.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

MAX_BATCH_TOKENS = 4096
MAX_LOGIT_ELEMENTS = 1 << 26
"""Rows in one batch are bounded by what the logits at the wanted positions take (256 MiB in float32)."""

Tokens = list[int]
Prompt = str | list[dict[str, str]]
"""A text, or a conversation for the chat template."""


@dataclass(frozen=True, slots=True)
class Row:
    """Token ids, the last of which (from `start` on) are scored."""

    tokens: Tokens
    start: int


class Engine:
    """One causal language model, bare or wrapped by PEFT, and its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.use(model)

    def use(self, model: Any) -> None:
        """Switches to `model`: the base, bare or in another wrapping."""
        self.model = model
        config: Any = next(iter(getattr(model, "peft_config", {}).values()), None)
        base: Any = model if config is None else model.get_base_model()
        # Virtual tokens are in the cache after the first pass: later tokens go to the base itself.
        self._decoder: Any = base if config is not None and config.is_prompt_learning else model
        stateful = getattr(base, "_is_stateful", False)  # recurrent models keep no tokens that could be masked
        self._cached = not stateful and not getattr(config, "alora_invocation_tokens", None)
        # In a sliding window, padding in the cache would push real tokens out: rows of equal length only.
        self._alike = getattr(base.config.get_text_config(), "sliding_window", None) is not None
        self._keeps = "logits_to_keep" in inspect.signature(base.forward).parameters
        self._vocabulary: int = base.get_output_embeddings().weight.shape[0]
        self._longest: int | None = getattr(base.config, "max_position_embeddings", None)
        ends = base.generation_config.eos_token_id
        self._ends = frozenset([ends] if isinstance(ends, int) else ends or ())

    def encode(self, prompt: Prompt) -> Tokens:
        """Token ids of a prompt with the tokenizer's special tokens; raises ValueError when the base cannot take it.

        A conversation is rendered by the chat template, with the opening of the answer.
        """
        tokens: Tokens = (
            self.tokenizer(prompt)["input_ids"]
            if isinstance(prompt, str)
            else self.tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
        )
        if not tokens:
            starts = [token for token in (self.tokenizer.bos_token_id, *sorted(self._ends)) if token is not None]
            if not starts:
                raise ValueError("a prompt has no tokens and the tokenizer no start token")
            tokens = starts[:1]
        self._check_length(len(tokens))
        return tokens

    def encode_pair(self, prompt: Prompt, continuation: str) -> Row:
        """Prompt and continuation as one row, split as lm-evaluation-harness splits them.

        One blank joins them unless either already has it; tokens of the joined text beyond the prompt's own count are
        the continuation's.
        """
        if not isinstance(prompt, str):
            prompt = self.tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
        context = self.encode(prompt)
        if not isinstance(prompt, str):
            added: Tokens = self.tokenizer(continuation, add_special_tokens=False)["input_ids"]
            if not added:
                raise ValueError("a continuation has no tokens")
            self._check_length(len(context) + len(added))
            return Row(context + added, len(context))
        joint = "" if not prompt or prompt[-1].isspace() or continuation[:1].isspace() else " "
        whole: Tokens = self.tokenizer(prompt + joint + continuation)["input_ids"]
        if not prompt:
            whole = context + whole
        self._check_length(len(whole))
        if len(whole) <= len(context):
            raise ValueError("a continuation adds no tokens to its prompt")
        return Row(whole, len(context))

    def _check_length(self, length: int) -> None:
        if self._longest is not None and length > self._longest:
            raise ValueError(f"a text of {length} tokens is longer than the {self._longest} that the base takes")

    def log_likelihoods(self, rows: Sequence[Row]) -> list[float]:
        """Sum of log-probabilities (natural logarithm) of each row's tokens from `start` on."""
        for row in rows:
            self._check_tokens(row)
        distinct = list({(tuple(row.tokens), row.start): row for row in rows}.values())
        found: dict[tuple[tuple[int, ...], int], float] = {}
        for batch in _batches(distinct, self._row_cost):
            for row, value in zip(batch, self._score(batch), strict=True):
                found[tuple(row.tokens), row.start] = value
        return [found[tuple(row.tokens), row.start] for row in rows]

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def trace(self, row: Row, watch: Sequence[Tokens] | None, top: int) -> dict[str, Any]:
        """How the model sees the row's tokens from `start` on; the ids are those of `watch`, or the `top` likeliest."""
        self._check_tokens(row)
        if len(row.tokens) == row.start:
            return {name: [] for name in ("chosen", "best", "entropy", "ids", "logProbabilities")}
        positions = list(range(row.start - 1, len(row.tokens) - 1))
        logits, _ = self._logits([row.tokens], positions, use_cache=False)
        scores = logits[0].float().log_softmax(-1)
        tokens = torch.tensor(row.tokens[row.start :])
        ids = scores.topk(min(top, scores.shape[-1]), dim=-1).indices.tolist() if watch is None else watch
        return {
            "chosen": scores.gather(1, tokens[:, None])[:, 0].tolist(),
            "best": scores.argmax(-1).tolist(),
            "entropy": (-(scores.exp() * scores).nan_to_num(0.0).sum(-1)).tolist(),
            "ids": ids,
            "logProbabilities": [scores[at, wanted].tolist() for at, wanted in enumerate(ids)],
        }

    def last_logits(self, prompts: Sequence[Tokens]) -> torch.Tensor:
        """Logits after each prompt, shape (prompts, vocabulary), float32."""
        with torch.inference_mode():
            return torch.cat(
                [self._logits([tokens], [len(tokens) - 1], use_cache=False)[0][:, 0].float() for tokens in prompts]
            )

    def generate(self, prompts: Sequence[Tokens], limit: int) -> list[Tokens]:
        """Greedy continuations of at most `limit` tokens, the end-of-sequence token included where it came.

        Plain argmax: of the base's generation configuration only the end-of-sequence tokens are used.
        """
        rows = {tuple(tokens): Row(tokens, len(tokens)) for tokens in prompts}
        produced: dict[tuple[int, ...], Tokens] = {}
        for batch in _batches(list(rows.values()), lambda row: len(row.tokens) + limit, alike=self._alike):
            answers = (
                self._generate_batch([row.tokens for row in batch], limit)
                if self._cached
                else [self._generate_uncached(row.tokens, limit) for row in batch]
            )
            produced.update(zip((tuple(row.tokens) for row in batch), answers, strict=True))
        return [produced[tuple(tokens)] for tokens in prompts]

    def _row_cost(self, row: Row) -> int:
        wanted = (len(row.tokens) - row.start) * self._vocabulary
        return max(len(row.tokens), wanted * MAX_BATCH_TOKENS // MAX_LOGIT_ELEMENTS)

    def _check_tokens(self, row: Row) -> None:
        self._check_length(len(row.tokens))
        if not all(0 <= token < self._vocabulary for token in row.tokens):
            raise ValueError("a continuation has token ids outside the vocabulary")

    def _logits(self, rows: Sequence[Tokens], positions: Sequence[int], *, use_cache: bool) -> tuple[torch.Tensor, Any]:
        """Logits at `positions` (the same for all rows), shape (rows, positions, vocabulary), and the cache."""
        longest = max(map(len, rows))
        tokens = torch.zeros((len(rows), longest), dtype=torch.long)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for index, row in enumerate(rows):
            tokens[index, : len(row)] = torch.tensor(row)
            mask[index, : len(row)] = 1
        # From the end: virtual tokens in front of the rows move every position counted from the start.
        wanted = torch.tensor(positions) - longest
        keep = {"logits_to_keep": wanted} if self._keeps else {}
        output = self.model(input_ids=tokens, attention_mask=mask, use_cache=use_cache, **keep)
        logits: torch.Tensor = output.logits if self._keeps else output.logits[:, wanted]
        return logits, output.past_key_values if use_cache else None

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _score(self, batch: Sequence[Row]) -> list[float]:
        positions = sorted({at for row in batch for at in range(row.start - 1, len(row.tokens) - 1)})
        column = {at: index for index, at in enumerate(positions)}
        logits, _ = self._logits([row.tokens for row in batch], positions, use_cache=False)
        places = [
            (index, column[at], row.tokens[at + 1])
            for index, row in enumerate(batch)
            for at in range(row.start - 1, len(row.tokens) - 1)
        ]
        rows, columns, targets = torch.tensor(places).T
        chosen = logits[rows, columns].float()
        scores = chosen.gather(1, targets[:, None])[:, 0] - torch.logsumexp(chosen, dim=-1)
        sums = torch.zeros(len(batch), dtype=torch.float64).index_add_(0, rows, scores.double())
        return [float(value) for value in sums]

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _generate_batch(self, rows: Sequence[Tokens], limit: int) -> list[Tokens]:
        lengths = torch.tensor([len(row) for row in rows])
        ends = sorted({len(row) - 1 for row in rows})
        logits, cache = self._logits(rows, ends, use_cache=True)
        columns = torch.tensor([ends.index(len(row) - 1) for row in rows])
        chosen = logits[torch.arange(len(rows)), columns].argmax(-1)
        virtual = cache.get_seq_length() - max(map(len, rows))
        slots = torch.arange(cache.get_seq_length())
        mask = ((slots[None] < virtual) | (slots[None] - virtual < lengths[:, None])).long()
        answers: list[Tokens] = [[] for _ in rows]
        alive = torch.arange(len(rows))
        for step in range(limit):
            for index, token in zip(alive.tolist(), chosen.tolist(), strict=True):
                answers[index].append(token)
            going = torch.tensor([token not in self._ends for token in chosen.tolist()], dtype=torch.bool)
            if step == limit - 1 or not going.any():
                break
            if not going.all():
                kept = going.nonzero()[:, 0]
                cache.batch_select_indices(kept)
                alive, chosen, mask, lengths = alive[kept], chosen[kept], mask[kept], lengths[kept]
            mask = torch.cat((mask, torch.ones((len(mask), 1), dtype=torch.long)), dim=1)
            output = self._decoder(
                input_ids=chosen[:, None],
                attention_mask=mask,
                position_ids=(virtual + lengths + step)[:, None],
                past_key_values=cache,
                use_cache=True,
            )
            cache, chosen = output.past_key_values, output.logits[:, -1].argmax(-1)
        return answers

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def _generate_uncached(self, prompt: Tokens, limit: int) -> Tokens:
        """For recurrent models, and for activated LoRA, whose effect depends on where in the text its tokens stand."""
        tokens = list(prompt)
        while len(tokens) < len(prompt) + limit and not (len(tokens) > len(prompt) and tokens[-1] in self._ends):
            logits, _ = self._logits([tokens], [len(tokens) - 1], use_cache=False)
            tokens.append(int(logits[0, 0].argmax()))
        return tokens[len(prompt) :]


def _batches(rows: list[Row], cost: Callable[[Row], int], *, alike: bool = False) -> Iterator[list[Row]]:
    """Rows by length, in batches whose padded cost stays within MAX_BATCH_TOKENS (at least one row each).

    `alike`: all rows of a batch have the same length.
    """
    batch: list[Row] = []
    dearest = 0
    for row in sorted(rows, key=lambda row: len(row.tokens)):
        dearest = max(dearest, cost(row))
        other = alike and batch and len(row.tokens) != len(batch[-1].tokens)
        if batch and (other or (len(batch) + 1) * dearest > MAX_BATCH_TOKENS):
            yield batch
            batch, dearest = [], cost(row)
        batch.append(row)
    if batch:
        yield batch
