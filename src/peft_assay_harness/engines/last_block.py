"""The last layer's feed-forward block only where what it gives is read: after it nothing mixes positions any more.

It is two thirds of a layer, and most positions of a pass are a prompt's, whose last hidden states nobody reads; their
keys and values, which are read, come before it. That a base is built so is not believed but seen: the first pass
of a process is made in both ways, and so is, with each adapter, the block in its first pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

LAYERS, BLOCK = ("layers", "h"), "mlp"
"""What transformers calls a decoder's layers, and in each what comes last."""
CLOSE, CLOSE_IN_HALF = 1e-4, 5e-2
"""Of the largest value by which both ways of computing may differ: products of other sizes round differently."""

_seen: set[tuple[type, type]] = set()
"""Kinds of bases, with their blocks, of which a whole pass was seen to give the same."""


class LastBlock:
    """Of a base, with the adapter that is on it."""

    def __init__(self, base: Any) -> None:
        self._block = _found_in(base)
        self._kind = type(base), type(self._block)
        self._tried = False
        self._calls = 0

    def give_up(self) -> None:
        """From now on all of it."""
        self._block = None

    def passed(self, rows: Any, columns: Any, forward: Callable[[], Any], read: Callable[[Any], Any]) -> Any:
        """What `forward` gives, of which only the places (rows, columns) are read; columns count from the end.

        `read` takes them out of it.
        """
        if self._block is None:
            return forward()
        if self._kind not in _seen:
            return self._both_ways(rows, columns, forward, read)
        output = self._partly(rows, columns, forward)
        if self._calls > 1:  # a pass that goes through it twice reads more of it than the head does
            self._block = None
            return forward()
        return output

    def _both_ways(self, rows: Any, columns: Any, forward: Callable[[], Any], read: Callable[[Any], Any]) -> Any:
        whole = forward()
        partly = self._partly(rows, columns, forward)
        if not self._tried:
            return whole
        if self._calls == 1 and same(read(partly), read(whole)):
            _seen.add(self._kind)
            return partly
        self._block = None
        return whole

    def _partly(self, rows: Any, columns: Any, forward: Callable[[], Any]) -> Any:
        self._calls = 0
        with self._hooked(rows, columns):
            return forward()

    @contextmanager
    def _hooked(self, rows: Any, columns: Any) -> Iterator[None]:
        """Hooks of one pass: the base is as it was afterwards."""
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
            whole = part.new_zeros((*hidden.shape[:2], part.shape[-1]))
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


def same(one: Any, other: Any) -> bool:
    """Whether two ways of computing gave the same but for rounding; False where it is no number."""
    tolerance = CLOSE_IN_HALF if other.dtype.itemsize < torch.float32.itemsize else CLOSE
    if one.shape != other.shape or not one.numel():
        return False
    return bool((one - other).abs().max() <= tolerance * other.abs().max())


def _found_in(base: Any) -> Any:
    decoder = base.get_decoder() if hasattr(base, "get_decoder") else None
    layers = next((found for name in LAYERS if (found := getattr(decoder, name, None)) is not None), None)
    if not isinstance(layers, torch.nn.ModuleList) or not len(layers):
        return None
    block = getattr(layers[-1], BLOCK, None)
    return block if isinstance(block, torch.nn.Module) else None
