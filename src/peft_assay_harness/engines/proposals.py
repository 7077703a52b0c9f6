"""Words that would, by the gradient, turn a model away from what it says: HotFlip (Ebrahimi et al., ACL 2018).

A neutral word of one token is put at the place; the gradient of the continuation's log-likelihood with respect to its
embedding tells, to first order, what any other token there would change. Only proposals: nothing says that they work.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch

from peft_assay_harness.engines.batches import batches
from peft_assay_harness.engines.interface import Insertion, Prompt, Row, Tokens

NEUTRAL = ("the", "a", "is", "of", "and", "user", "to", ":", ".")
TRIED = 64
"""Tokens looked at for each word that is proposed."""


class Differentiable(Protocol):
    """What proposing needs of the engine whose gradients it takes."""

    base: Any
    tokenizer: Any
    vocabulary: int
    alone: bool
    """One row at a time."""

    def encode(self, prompt: Prompt) -> Tokens:
        """See `Engine.encode`."""

    def logits(self, rows: Sequence[Row]) -> Any:
        """Logits at all tokens of all continuations, row after row, with gradients."""

    def embeddings(self) -> set[Any]:
        """The modules that may embed the prompt."""

    def embedded(self, rows: Sequence[Row]) -> list[int]:
        """For each row of one such pass, which row of the first embedded batch is its context."""


def propose(engine: Differentiable, items: Sequence[Insertion], top: int) -> list[str]:
    """At most `top` words, most promising first; none where the tokenizer has no word of one token."""
    rows = [placed for item in items if (placed := _placed(engine, item)) is not None]
    if not rows:
        return []
    gradient = _gradient(engine, rows)
    with torch.inference_mode():
        embedding = engine.base.get_input_embeddings()
        known = min(engine.vocabulary, len(engine.tokenizer))
        vectors = embedding(torch.arange(known)[None])[0].float()
        order = (vectors @ gradient).argsort().tolist()
    special = set(engine.tokenizer.all_special_ids)
    words: list[str] = []
    for token in order[: TRIED * top]:
        if len(words) == top:
            break
        word = None if token in special else _word(engine.tokenizer, token)
        if word is not None and word not in words:
            words.append(word)
    return words


def _word(tokenizer: Any, token: int) -> str | None:
    """The text of a token that comes back as that one token where it stands as a word; None for any other."""
    word: str = tokenizer.decode([token]).strip()
    if not word or any(letter.isspace() for letter in word):
        return None
    return word if _inserted(tokenizer, "a a", f"a {word} a") == token else None


def _inserted(tokenizer: Any, before: str, after: str) -> int | None:
    """The one token that `after` has more than `before`, or None."""
    short, long = tokenizer(before)["input_ids"], tokenizer(after)["input_ids"]
    at = _common(short, long)
    return long[at] if len(long) == len(short) + 1 and long[at + 1 :] == short[at:] else None


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    return next(
        (at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def _placed(engine: Differentiable, item: Insertion) -> tuple[Row, int] | None:
    """The row with a neutral word inserted, and where its token stands."""
    if not item.continuation:
        return None
    plain = engine.encode(item.prompt)
    for word in _neutral(engine.tokenizer):
        tokens = engine.encode(_with(item.prompt, word, item.place))
        at = _common(plain, tokens)
        if len(tokens) == len(plain) + 1 and tokens[at + 1 :] == plain[at:]:
            return Row(tokens, item.continuation), at
    return None


def _neutral(tokenizer: Any) -> Iterator[str]:
    """Words to hold the place: common ones, then whatever the vocabulary has."""
    yield from NEUTRAL
    yield from (word for token in range(min(TRIED, len(tokenizer))) if (word := _word(tokenizer, token)) is not None)


def _with(prompt: Prompt, word: str, place: float) -> Prompt:
    """`prompt` with `word` before the word at `place`, in what the user said last."""
    if not isinstance(prompt, str):
        last = max((at for at, turn in enumerate(prompt) if turn["role"] == "user"), default=len(prompt) - 1)
        changed = _with(prompt[last]["content"], word, place)
        return [{**turn, "content": str(changed)} if at == last else turn for at, turn in enumerate(prompt)]
    words = prompt.split(" ")
    position = round(place * len(words))
    return " ".join([*words[:position], word, *words[position:]])


def _gradient(engine: Differentiable, placed: Sequence[tuple[Row, int]]) -> Any:
    """Mean gradient of the log-likelihood with respect to the embedding at the places, float32 of the hidden size."""
    sums = []
    for batch in _grouped(engine, placed):
        rows = [row for row, _ in batch]
        embeddings: list[Any] = []

        def keep(_: Any, __: Any, output: Any, kept: list[Any] = embeddings) -> Any:
            if kept:  # what the decoder embeds after the encoder
                return output
            kept.append(output.detach().requires_grad_())
            return kept[0]

        hooks = [module.register_forward_hook(keep) for module in engine.embeddings()]
        try:
            with torch.enable_grad():
                logits = engine.logits(rows)
                targets = torch.tensor([token for row in rows for token in row.continuation])
                likely = (logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(-1)).sum()
                (gradient,) = torch.autograd.grad(likely, embeddings[0])
        finally:
            for hook in hooks:
                hook.remove()
        sums += [gradient[at, place].float() for at, (_, place) in zip(engine.embedded(rows), batch, strict=True)]
    return torch.stack(sums).mean(0)


def _grouped(engine: Differentiable, placed: Sequence[tuple[Row, int]]) -> Iterator[list[tuple[Row, int]]]:
    def length(entry: tuple[Row, int]) -> int:
        return len(entry[0].context) + len(entry[0].continuation)

    if engine.alone:
        return iter([[entry] for entry in placed])
    return batches(placed, length, length)
