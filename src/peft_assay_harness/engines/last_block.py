"""The last layer's feed-forward block only where what it gives is read.

It is two thirds of a layer, and most positions of a pass are a prompt's, whose last hidden states nobody reads; their
keys and values, which are read, come before it. In nearly all bases nothing mixes positions any more after it (in some
something does: Inkling has a convolution there). That a base is built so is not believed but seen: the first pass of a
process is made in both ways, with no number at all positions that are left out, which would show in whatever they
reach; and so is, with each adapter, the block in its first pass.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from peft_assay_harness.engines.sameness import same
from peft_assay_harness.zygote import is_memory_error

LAYERS, BLOCK = ("layers", "h"), "mlp"
"""What transformers calls a decoder's layers, and in each what comes last."""
FAILURES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)
"""What a base raises that wants all positions of its last block, or none left out."""

_seen: set[tuple[type, type]] = set()
"""Kinds of bases, with their blocks, of which a whole pass was seen to give the same."""


class LastBlock:
    """Of a base, with the adapter that is on it."""

    def __init__(self, base: Any) -> None:
        self._block = _found_in(base)
        self._kind = type(base), type(self._block)
        self._tried = False
        self._calls = 0
        self._left_out = False

    def give_up(self) -> None:
        """From now on all of it."""
        self._block = None

    def passed(self, rows: Any, columns: Any, forward: Callable[[], Any], read: Callable[[Any], Any]) -> Any:
        """What `forward` gives, of which only the places (rows, columns) are read; columns count from the end.

        `read` takes them out of it.
        """
        if self._block is not None and self._kind not in _seen:
            return self._both_ways(rows, columns, forward, read)
        if self._block is not None:
            output = self._partly(rows, columns, forward, filler=0.0)
            if self._calls == 1:
                return output
            self._block = None  # it failed, or goes through the block twice, and reads more of it than the head does
        return forward()

    def _both_ways(self, rows: Any, columns: Any, forward: Callable[[], Any], read: Callable[[Any], Any]) -> Any:
        partly = self._partly(rows, columns, forward, filler=math.nan)
        if partly is not None and not self._left_out:
            return partly
        whole = forward()
        if self._tried and self._calls == 1 and same(read(partly), read(whole)):
            _seen.add(self._kind)
            return whole if torch.is_grad_enabled() else partly  # what was no number has no gradient
        self._block = None
        return whole

    def _partly(self, rows: Any, columns: Any, forward: Callable[[], Any], *, filler: float) -> Any:
        """The pass, and in `_calls` how often it went through the block: never where it failed."""
        self._calls, self._left_out = 0, False
        try:
            with self._hooked(rows, columns, filler):
                return forward()
        except FAILURES as error:
            if is_memory_error(error):
                raise
            self._calls = 0
            return None

    @contextmanager
    def _hooked(self, rows: Any, columns: Any, filler: float) -> Iterator[None]:
        """Hooks of one pass, which put `filler` where nothing is read: the base is as it was afterwards."""
        kept: list[Any] = []

        def select(_: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
            self._calls += 1
            kept.clear()
            if len(arguments) != 1 or arguments[0].dim() != 3:
                return None
            hidden = arguments[0]
            flat = (rows * hidden.shape[1] + columns % hidden.shape[1]).unique()
            if not 0 < 2 * len(flat) <= hidden.shape[0] * hidden.shape[1]:
                return None
            kept.extend((hidden, flat))
            self._left_out = True
            return (_taken(hidden, flat),) if self._tried else None

        def spread(block: Any, _: Any, output: Any) -> Any:
            if not kept:
                return None
            hidden, flat = kept
            part = output if self._tried else _by_position(block, hidden, flat, output)
            if part is None:
                self._block = None
                return None
            self._tried = True
            whole = part.new_full((*hidden.shape[:2], part.shape[-1]), filler)
            whole.flatten(0, 1)[flat] = part[0]
            return whole

        hooks = [self._block.register_forward_pre_hook(select), self._block.register_forward_hook(spread)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _by_position(block: Any, hidden: Any, flat: Any, output: Any) -> Any:
    """What `block` gives for some positions alone, where that is what it gave for them among all; else None.

    It is what counts from the first pass on: the same question twice has the same answer to the last bit.
    """
    if not isinstance(output, torch.Tensor) or output.shape[:2] != hidden.shape[:2]:
        return None
    part = block.forward(_taken(hidden, flat))
    return part if same(part, _taken(output, flat)) else None


def _taken(states: Any, flat: Any) -> Any:
    """Of shape (1, places, size) from (rows, columns, size)."""
    return states.flatten(0, 1)[flat][None]


def _found_in(base: Any) -> Any:
    decoder = base.get_decoder() if hasattr(base, "get_decoder") else None
    layers = next((found for name in LAYERS if (found := getattr(decoder, name, None)) is not None), None)
    if not isinstance(layers, torch.nn.ModuleList) or not len(layers):
        return None
    block = getattr(layers[-1], BLOCK, None)
    return block if isinstance(block, torch.nn.Module) else None
