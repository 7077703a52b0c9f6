"""From text to token ids, as the base's tokenizer and chat template have it."""

from collections.abc import Sequence
from typing import Any

from peft_assay_harness.engines.interface import Prompt, Row, Tokens


class Encoding:
    """A base's tokenizer with its bounds."""

    def __init__(self, tokenizer: Any, *, ends: Sequence[int], vocabulary: int, joins: bool) -> None:
        """`joins`: prompt and continuation are one text (causal models) and not two."""
        self.tokenizer = tokenizer
        self._ends = tuple(ends)
        self._vocabulary = vocabulary
        self._joins = joins

    def encode(self, prompt: Prompt) -> Tokens:
        """Token ids with the tokenizer's special tokens; a conversation ends with the opening of the answer.

        Raises ValueError when there are none, and whatever a chat template raises for a conversation.
        """
        tokens = tuple(
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
        if self._joins and isinstance(prompt, str):
            context = self.encode(prompt.rstrip())
            joint = "" if not prompt or prompt[-1].isspace() or continuation[:1].isspace() else " "
            whole = tuple(self.tokenizer(prompt + joint + continuation)["input_ids"])
            if not prompt.strip() and whole[: len(context)] != context:
                whole = context + whole
        else:
            context = self.encode(prompt)
            whole = context + tuple(self.tokenizer(continuation, add_special_tokens=False)["input_ids"])
        if len(whole) <= len(context):
            raise ValueError("a continuation adds no tokens to its prompt")
        return Row(whole[: len(context)], whole[len(context) :])
