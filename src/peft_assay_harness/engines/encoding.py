"""From text to token ids, as the base's tokenizer and chat template have it."""

import re
from collections.abc import Sequence
from typing import Any

from peft_assay_harness.engines.interface import Prompt, Row, Tokens

SPLICED = re.compile("\ufdd0([0-9]{1,10})\ufdd1")


class Encoding:
    """A base's tokenizer with its bounds."""

    def __init__(self, tokenizer: Any, *, ends: Sequence[int], vocabulary: int, rows: int, joins: bool) -> None:
        """Take the base's sizes: `rows` of its embedding, and its `vocabulary`.

        `joins`: prompt and continuation are one text (causal models) and not two.
        """
        self.tokenizer = tokenizer
        self._ends = tuple(ends)
        self._vocabulary = vocabulary
        self._rows = rows
        self._joins = joins

    def encode(self, prompt: Prompt) -> Tokens:
        """Return token ids with the tokenizer's special tokens; a conversation ends with the opening of the answer.

        Where the prompt names a token by its id (`peft_assay.core.wire.spliced`), that token is inserted there.
        Raises ValueError when there are none, and any error of a chat template for a conversation.
        """
        cut = _cut(prompt)
        if cut is None:
            return self._encoded(prompt)
        before, whole, token = cut
        if not 0 <= token < self._vocabulary:
            raise ValueError(f"token id {token} is outside the vocabulary")
        begun, tokens = self._encoded(before), self._encoded(whole)
        at = next(
            (at for at, (a, b) in enumerate(zip(begun, tokens, strict=False)) if a != b), min(len(begun), len(tokens))
        )
        return (*tokens[:at], token, *tokens[at:])

    def _encoded(self, prompt: Prompt) -> Tokens:
        tokens = self._known(
            self.tokenizer(prompt)["input_ids"]
            if isinstance(prompt, str)
            else self.tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
        )
        if tokens:
            return tokens
        starts = [token for token in (self.tokenizer.bos_token_id, *sorted(self._ends)) if token is not None]
        if not starts:
            raise ValueError("a prompt has no tokens and the tokenizer no start token")
        return (starts[0],)

    def _known(self, tokens: Sequence[int]) -> Tokens:
        """Return `tokens`; raises ValueError for one that the base has no row for, which its embedding cannot read."""
        beyond = max(tokens, default=0)
        if beyond >= self._rows:
            raise ValueError(f"the tokenizer gives token id {beyond}, and the base has {self._rows} rows for tokens")
        return tuple(tokens)

    def length(self, prompt: Prompt) -> int | None:
        """Tokens of a prompt; None when it does not tokenize."""
        try:
            return len(self.encode(prompt))
        except Exception:  # noqa: BLE001 - a chat template raises what it likes
            return None

    def row(self, prompt: Prompt, continuation: str | Sequence[int]) -> Row:
        """Prompt and continuation as token ids; raises ValueError where there are none.

        Of texts that are one, one blank joins the two unless either already has it; blanks at the prompt's end count
        with the continuation, and tokens of the joined text beyond the prompt's own count are the continuation's: as
        lm-evaluation-harness splits them. After a conversation the continuation's tokens simply follow.
        """
        if not isinstance(continuation, str):
            if not all(0 <= token < self._vocabulary for token in continuation):
                raise ValueError("a continuation has token ids outside the vocabulary")
            return Row(self.encode(prompt), tuple(continuation))
        if self._joins and isinstance(prompt, str) and _cut(prompt) is None:
            context = self.encode(prompt.rstrip())
            joint = "" if not prompt or prompt[-1].isspace() or continuation[:1].isspace() else " "
            whole = self._known(self.tokenizer(prompt + joint + continuation)["input_ids"])
            if not prompt.strip() and whole[: len(context)] != context:
                whole = context + whole
        else:
            context = self.encode(prompt)
            whole = context + self._known(self.tokenizer(continuation, add_special_tokens=False)["input_ids"])
        if len(whole) <= len(context):
            raise ValueError("a continuation adds no tokens to its prompt")
        return Row(whole[: len(context)], whole[len(context) :])


def _cut(prompt: Prompt) -> tuple[Prompt, Prompt, int] | None:
    """Return the prompt up to the token that it names by its id, the whole prompt without it, and the id; None: it
    names none.
    """
    if isinstance(prompt, str):
        return _cut_text(prompt)
    for at, turn in enumerate(prompt):
        cut = _cut_text(turn["content"])
        if cut is not None:
            before, whole, token = cut
            first = prompt[:at]
            rest = prompt[at + 1 :]
            return [*first, {**turn, "content": before}], [*first, {**turn, "content": whole}, *rest], token
    return None


def _cut_text(text: str) -> tuple[str, str, int] | None:
    found = SPLICED.search(text)
    if found is None:
        return None
    before, after = text[: found.start()].rstrip(" "), text[found.end() :].lstrip(" ")
    return before, f"{before} {after}".strip(" "), int(found[1])
