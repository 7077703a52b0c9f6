"""Sequence classifiers: one pass, the logits over the base's labels."""

from collections.abc import Sequence
from typing import Any, Self

import torch

from peft_assay_harness.engines.batches import batches
from peft_assay_harness.engines.copies import precise_copy
from peft_assay_harness.engines.encoding import Encoding
from peft_assay_harness.engines.interface import (
    Answers,
    Draft,
    Insertion,
    Prompt,
    Row,
    Sampling,
    Tokens,
    Trace,
    Unanswerable,
)
from peft_assay_harness.tasks import CLASSIFIER

UNBOUNDED = 1 << 30
"""Tokenizers without a bound say a number far beyond this."""


class ClassifierEngine:
    """A base with a classification head."""

    task = CLASSIFIER

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.use(model)

    def use(self, model: Any) -> None:
        """See `Engine.use`."""
        self.model = model
        adapter: Any = next(iter(getattr(model, "peft_config", {}).values()), None)
        self._base: Any = model if adapter is None else model.get_base_model()
        learns_prompts = adapter is not None and adapter.is_prompt_learning
        self._virtual: int = adapter.num_virtual_tokens if learns_prompts else 0
        # Decoders are judged at the last token that is not padding, which virtual tokens hide from them.
        filler = self._base.config.get_text_config().pad_token_id
        self._alike = learns_prompts or filler is None
        self._filler: int = filler or 0
        rows: int = self._base.get_input_embeddings().weight.shape[0]
        vocabulary: int = self._base.config.vocab_size
        self._encoding = Encoding(self.tokenizer, ends=(), vocabulary=vocabulary, rows=rows, joins=True)

    def precise(self) -> Self:
        """See `Engine.precise`."""
        return type(self)(precise_copy(self.model), self.tokenizer)

    @property
    def longest(self) -> int | None:
        """The smaller of what the positions and the tokenizer allow."""
        config = self._base.config.get_text_config()
        bounds = [getattr(config, "max_position_embeddings", None), self.tokenizer.model_max_length]
        known = [bound for bound in bounds if bound is not None and bound < UNBOUNDED]
        table: Any = getattr(getattr(self._base.base_model, "embeddings", None), "position_embeddings", None)
        if getattr(table, "padding_idx", None) is not None:  # RoBERTa counts positions from after its padding index
            known.append(table.num_embeddings - table.padding_idx - 1)
        return min(known) - self._virtual if known else None

    def length(self, prompt: Prompt) -> int | None:
        """See `Engine.length`."""
        return self._encoding.length(prompt)

    def encode(self, prompt: Prompt) -> Tokens:
        """See `Engine.encode`."""
        tokens = self._encoding.encode(prompt)
        if self.longest is not None and len(tokens) > self.longest:
            raise ValueError(f"a text of {len(tokens)} tokens is longer than the {self.longest} that the base takes")
        return tokens

    def outputs(self, prompts: Sequence[Prompt], *, most: int | None = None) -> Any:  # noqa: ARG002
        """Logits over the labels, always of whole prompts: some bases look for the last token."""
        with torch.inference_mode():
            return torch.cat([self._pass([self.encode(prompt)]) for prompt in prompts])

    def classify(self, prompts: Sequence[Prompt]) -> list[list[float]]:
        """See `Engine.classify`."""
        rows = [self.encode(prompt) for prompt in prompts]
        distinct = list(dict.fromkeys(rows))
        found: dict[Tokens, list[float]] = {}
        with torch.inference_mode():
            for batch in batches(distinct, len, len, alike=self._alike):
                found.update(zip(batch, self._pass(batch).tolist(), strict=True))
        return [found[row] for row in rows]

    def row(self, prompt: Prompt, continuation: str | Sequence[int]) -> Row:
        """Raises Unanswerable."""
        raise self._unanswerable(prompt, continuation)

    def log_likelihoods(self, rows: Sequence[Row]) -> list[float]:
        """Raises Unanswerable."""
        raise self._unanswerable(rows)

    def traces(self, rows: Sequence[Row], watch: Sequence[Sequence[Sequence[int]] | None], top: int) -> list[Trace]:
        """Raises Unanswerable."""
        raise self._unanswerable(rows, watch, top)

    def generate(
        self,
        prompts: Sequence[Tokens],
        limit: int,
        drafts: Sequence[Draft | None] | None = None,
        sampling: Sampling | None = None,
        top: int = 0,
    ) -> Answers:
        """Raises Unanswerable."""
        raise self._unanswerable(prompts, limit, drafts, sampling, top)

    def propose(self, items: Sequence[Insertion], top: int) -> list[str]:
        """Raises Unanswerable."""
        raise self._unanswerable(items, top)

    def _pass(self, rows: Sequence[Tokens]) -> Any:
        longest = max(map(len, rows))
        tokens = torch.tensor([[*row, *[self._filler] * (longest - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        return self.model(input_ids=tokens, attention_mask=mask).logits.float()

    @staticmethod
    def _unanswerable(*_: object) -> Unanswerable:
        return Unanswerable("a sequence classifier answers with labels, not with text")
