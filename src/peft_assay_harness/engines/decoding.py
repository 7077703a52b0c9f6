"""Answers with a cache of keys and values: draft and prompt in one pass, then token by token from the first departure.

Rows of different lengths are padded on the right. What is padding, or a rejected part of a draft, stays in the cache as
masked slots (what all rows rejected is cut off), and positions are given explicitly.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers.cache_utils import DynamicLayer

from peft_assay_harness.engines.batches import batches, logit_cost, padded
from peft_assay_harness.engines.choosing import Choose
from peft_assay_harness.engines.head import Head
from peft_assay_harness.engines.interface import Row, Tokens
from peft_assay_harness.engines.language import See, accepted, finished
from peft_assay_harness.engines.roomy import with_room


class Cached(Protocol):
    """What decoding needs of the engine whose rows it continues."""

    model: Any
    head: Head
    vocabulary: int
    ends: frozenset[int]
    joinable: bool
    """Whether caches of separate passes can be joined; found out to be false at the latest when they are."""


class Line:
    """One answer in the making."""

    def __init__(self, tokens: Tokens, row: Row, answer: list[int]) -> None:
        self.tokens = tokens
        """What comes before: the prompt, and the part of the answer that is certain."""
        self.row = row
        self.draft: Tokens = row.continuation
        """What is tried next."""
        self.answer = answer


def line_length(line: Line) -> int:
    """Tokens of the pass that begins a line."""
    return len(line.tokens) + len(line.draft)


@dataclass(slots=True)
class _State:
    """A batch between two tokens."""

    lines: list[Line]
    cache: Any
    mask: Any
    """Shape (lines, slots of the cache): 1 for real and virtual tokens."""
    positions: Any
    """Of the next token of each line."""
    logits: Any
    """For the next token of each line."""

    def keep(self, kept: list[int]) -> None:
        """Goes on with these lines only."""
        if len(kept) == len(self.lines):
            return
        index = torch.tensor(kept, dtype=torch.long)
        self.cache.batch_select_indices(index)
        self.lines = [self.lines[at] for at in kept]
        self.mask, self.positions, self.logits = self.mask[index], self.positions[index], self.logits[index]


def decode(engine: Cached, decoder: Any, lines: list[Line], limit: int, choose: Choose, see: See) -> None:
    """Completes the answers of `lines`. `decoder` is what takes single tokens once a cache exists."""
    state = _started(engine, lines, limit, see)
    with_room(state.cache, limit - min(len(line.answer) for line in lines))
    while True:
        state.keep([at for at, line in enumerate(state.lines) if not finished(line.answer, limit, engine.ends)])
        if not state.lines:
            return
        chosen = choose(state.logits, [line.row for line in state.lines])
        for line, token in zip(state.lines, chosen, strict=True):
            line.answer.append(token)
        going = [at for at, line in enumerate(state.lines) if not finished(line.answer, limit, engine.ends)]
        chosen = [chosen[at] for at in going]
        state.keep(going)
        if not state.lines:
            return
        state.mask = torch.cat((state.mask, torch.ones((len(chosen), 1), dtype=torch.long)), dim=1)
        output = decoder(
            input_ids=torch.tensor(chosen)[:, None],
            attention_mask=state.mask,
            position_ids=state.positions[:, None],
            past_key_values=state.cache,
            use_cache=True,
        )
        state.cache, state.logits = output.past_key_values, output.logits[:, -1].float()
        state.positions = state.positions + 1


def _started(engine: Cached, lines: list[Line], limit: int, see: See) -> _State:
    """Prompts and drafts are read; the accepted part of each draft is in its line's answer.

    Reading is cheapest in small batches, going on token by token in large ones: lines are read in groups, whose caches
    are then joined. A base whose cache cannot be joined reads all lines in one pass.
    """
    if engine.joinable:
        groups = batches(
            lines,
            line_length,
            lambda line: max(line_length(line), logit_cost(len(line.draft) + 1, engine.vocabulary)),
        )
        read = [_read(engine, group, limit, see) for group in groups]
        if len(read) == 1:
            return read[0]
        if all(type(layer) is DynamicLayer for state in read for layer in state.cache.layers):
            return _joined(read)
        engine.joinable = False
        for line in lines:
            line.answer = line.answer[: len(line.tokens) - len(line.row.context)]
    return _read(engine, lines, limit, see)


def _joined(states: list[_State]) -> _State:
    """One state: shorter caches are padded with masked slots."""
    slots = max(state.mask.shape[1] for state in states)
    cache = states[0].cache
    for index, layer in enumerate(cache.layers):
        parts = [state.cache.layers[index] for state in states]
        layer.keys = torch.cat([_extended(part.keys, slots, -2) for part in parts])
        layer.values = torch.cat([_extended(part.values, slots, -2) for part in parts])
    return _State(
        [line for state in states for line in state.lines],
        cache,
        torch.cat([_extended(state.mask, slots, -1) for state in states]),
        torch.cat([state.positions for state in states]),
        torch.cat([state.logits for state in states]),
    )


def _extended(tensor: Any, size: int, dimension: int) -> Any:
    """Padded with zeros at the end of a dimension (-1 or -2)."""
    missing = size - tensor.shape[dimension]
    return torch.nn.functional.pad(tensor, (0, missing) if dimension == -1 else (0, 0, 0, missing))


def _read(engine: Cached, lines: list[Line], limit: int, see: See) -> _State:
    """One pass over prompts and drafts."""
    tokens, mask = padded([(*line.tokens, *line.draft) for line in lines])
    longest = tokens.shape[1]
    places = [
        (index, len(line.tokens) - 1 + step - longest)
        for index, line in enumerate(lines)
        for step in range(len(line.draft) + 1)
    ]
    logits, output = engine.head.at(places, lambda: engine.model(input_ids=tokens, attention_mask=mask, use_cache=True))
    lengths, following = [], []
    for line, part in zip(lines, logits.split([len(line.draft) + 1 for line in lines]), strict=True):
        taken: Sequence[int] = ()
        if line.draft:
            see(line.row, part[:-1])
            taken = accepted(part.argmax(-1).tolist(), line.draft, limit - len(line.answer), engine.ends)
            line.answer += taken
        lengths.append(len(line.tokens) + len(taken))
        following.append(part[len(taken)])
    cache = output.past_key_values
    virtual = cache.get_seq_length() - longest
    if longest > max(lengths):
        cache.crop(max(lengths) - longest)
    slots = torch.arange(virtual + max(lengths))
    positions = virtual + torch.tensor(lengths)
    return _State(list(lines), cache, (slots[None] < positions[:, None]).long(), positions, torch.stack(following))
