"""Measure prompts and answers of a governed model, and compare their lengths with the permission.

A pass over several tokens reads a prompt, or more of one; passes that add one token to what a cache (or the pass
before) holds make an answer. Padding is no part of either, nor are an adapter's virtual tokens. It counts tokens as
they pass: positions that a caller states are not read.
"""

import threading
import warnings
import weakref
from typing import Any

from peft_assay.core.certificate import Activation
from peft_assay.core.context import Beyond
from peft_assay.core.errors import ActivationDenied


class BeyondTested(UserWarning):
    """A prompt or an answer is longer than the tested or declared length."""


class Lengths:
    """Check of each forward pass: is the prompt or answer longer than permitted? It warns, or refuses."""

    def __init__(self, permission: Activation, wrapped: Any) -> None:
        self.prompt, self.answer = permission.prompt_tokens, permission.answer_tokens
        self.beyond = permission.beyond
        self.found: str | None = None
        """The first prompt or answer that was too long, in words."""
        self.virtual, self.prefixed = _virtual_tokens(wrapped)
        self.encodes = bool(getattr(wrapped.config, "is_encoder_decoder", False))
        self.read: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        """Tokens of the prompt that a cache holds."""
        self.last = threading.local()

    def ask(self, arguments: Any, named: Any) -> None:
        """Look at one forward pass; raises ActivationDenied with check ``lengths`` where longer ones are refused."""
        given = _given(arguments, named)
        if self.encodes:
            encoded = named.get("encoder_outputs")
            read = given if encoded is None else encoded[0]  # a caller may hand over what another encoder read
            if read is not None:
                self._judge(self._words(named, _tokens(read)), 0)
            decoded = named.get("decoder_input_ids")
            decoded = named.get("decoder_inputs_embeds") if decoded is None else decoded
            if decoded is not None:
                virtual = self.virtual if self.prefixed else 0
                self._judge(0, _held(named.get("past_key_values")) + _tokens(decoded) - virtual)
        elif given is not None:
            self._count(given, named)

    def _count(self, given: Any, named: Any) -> None:
        cache, new = named.get("past_key_values"), _tokens(given)
        held = _held(cache)
        whole = held + new
        read = self._cached(cache, held) if held and new == 1 else self._continued(given) if cache is None else None
        prompt = whole if read is None else read
        if held == 0 or read is None:
            self._keep(cache, given, prompt)
        if read is not None and whole - prompt >= self.answer:
            # The pass that reads an answer's k-th token makes the next one.
            self._judge(0, whole - prompt + 1)
        if prompt > self.prompt or whole > self.prompt + self.answer:
            padded = whole - self._words(named, whole)
            self._judge(prompt - padded, whole - prompt if read is not None else 0)

    def _cached(self, cache: Any, held: int) -> int:
        """Return the prompt's tokens in a cache; for a cache that was not seen being filled, all its tokens."""
        try:
            return self.read.setdefault(cache, held)
        except TypeError:
            return getattr(self.last, "prompt", held)

    def _continued(self, given: Any) -> int | None:
        """Return the prompt's tokens where the pass before, without a cache, had all tokens but the last one."""
        before = getattr(self.last, "given", None)
        if before is None or _tokens(given) != _tokens(before) + 1 or before.shape[0] != given.shape[0]:
            return None
        same = bool((given[:, :-1] == before).all())
        return int(self.last.prompt) if same else None

    def _keep(self, cache: Any, given: Any, prompt: int) -> None:
        self.last.prompt, self.last.given = prompt, given if cache is None else None
        try:
            if cache is not None:
                self.read[cache] = prompt
        except TypeError:
            pass  # a tuple, as older models have

    def _words(self, named: Any, whole: int) -> int:
        """Return the tokens of `whole` without padding and virtual tokens, of the longest row."""
        mask = named.get("attention_mask")
        if mask is not None and mask.ndim == 2 and mask.shape[1] == whole:
            whole = int((mask != 0).sum(dim=1).max())  # transformers reads whatever is not 0 as "attend"
        return whole if self.encodes and self.prefixed else max(whole - self.virtual, 0)

    def _judge(self, prompt: int, answer: int) -> None:
        for what, found, most in (("prompt", prompt, self.prompt), ("answer", answer, self.answer)):
            if found > most:
                self._tell(f"{what} of {found} tokens: {most} is the longest that was tested or declared")

    def _tell(self, said: str) -> None:
        if self.beyond is Beyond.REFUSE:
            raise ActivationDenied(
                said,
                check="lengths",
                next_step="serve less; or add suites as long as that, declare it (context.lengths) and certify again",
            )
        if self.found is None:
            self.found = said
            warnings.warn(said, BeyondTested, stacklevel=2)


def _given(arguments: Any, named: Any) -> Any:
    """Return the tokens of a pass, as ids or as embeddings."""
    given = named.get("input_ids")
    if given is None:
        given = arguments[0] if arguments else named.get("inputs_embeds")
    return given if given is not None and given.ndim >= 2 else None


def _tokens(given: Any) -> int:
    return int(given.shape[1])


def _held(cache: Any) -> int:
    """Return the tokens that a cache holds, an adapter's virtual ones among them."""
    if cache is None:
        return 0
    count = getattr(cache, "get_seq_length", None)
    return int(count()) if count is not None else int(cache[0][0].shape[-2])


def _virtual_tokens(wrapped: Any) -> tuple[int, bool]:
    """Return how many tokens the adapter puts before every sequence, and whether into the cache instead of before the
    words.
    """
    config = wrapped.peft_config.get(wrapped.active_adapter)
    if not getattr(config, "is_prompt_learning", False):
        return 0, False
    return int(getattr(config, "num_virtual_tokens", None) or 0), str(config.peft_type).endswith("PREFIX_TUNING")
