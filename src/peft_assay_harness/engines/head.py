"""The output head only where its answer is wanted, and the block before it: they are a large share of a pass."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from peft_assay_harness.engines.last_block import LastBlock

Places = Sequence[tuple[int, int]]
"""(row, column); columns count from the end of the row's hidden states, since virtual tokens may stand before."""


class Head:
    """The module that turns hidden states into logits, and how to make it look at chosen places only."""

    def __init__(self, base: Any) -> None:
        self._module: Any = base.get_output_embeddings()
        self._before = LastBlock(base)

    def read_all(self) -> None:
        """What a position gives depends on others, now or later: the block before the head is asked for all."""
        self._before.give_up()

    def at(self, places: Places, forward: Callable[[], Any]) -> tuple[Any, Any]:
        """Runs `forward` and gives the logits at `places`, float32 of shape (places, vocabulary), and its output.

        What a model does to all logits alike (soft caps, scaling) happens after the head and is kept.
        """
        rows, columns = torch.tensor(list(places), dtype=torch.long).reshape(-1, 2).T
        seen: list[None] = []

        def select(_: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
            if arguments[0].dim() != 3:  # not (rows, columns, hidden size): chosen from the logits instead
                return arguments
            seen.append(None)
            return arguments[0][rows, columns][None], *arguments[1:]

        def once() -> Any:
            seen.clear()
            return forward()

        def read(output: Any) -> Any:
            chosen = bool(seen) and output.logits.shape[:2] == (1, len(rows))
            return output.logits[0] if chosen else output.logits[rows, columns]

        hook = None if self._module is None else self._module.register_forward_pre_hook(select)
        try:
            output = self._before.passed(rows, columns, once, read)
        finally:
            if hook is not None:
                hook.remove()
        if seen and (len(seen) > 1 or output.logits.shape[:2] != (1, len(rows))):
            self._module = None  # the base uses its head otherwise than once per pass: from now on, everywhere
            return self.at(places, forward)
        return read(output).float(), output
