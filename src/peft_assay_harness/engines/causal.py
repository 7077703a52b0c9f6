"""Causal language models: rows padded on the right, through PEFT's own forward.

PEFT puts virtual tokens (prompt, prefix, p-tuning) in front of a row: position numbers are then those of a row alone,
for every adapter type, and no real token attends to padding.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from peft_assay_harness.engines.batches import DECODE_TOKENS, READ_AT_ONCE, batches, logit_cost, padded
from peft_assay_harness.engines.choosing import Choose, greedy
from peft_assay_harness.engines.decoding import Line, decode, line_length
from peft_assay_harness.engines.interface import Row, Tokens
from peft_assay_harness.engines.language import LanguageEngine, See, accepted, finished
from peft_assay_harness.engines.tracing import log_probabilities
from peft_assay_harness.engines.traits import Kind, kind_of, traits_of
from peft_assay_harness.engines.trees import MAX_TREE, Tree, grow, pack
from peft_assay_harness.tasks import CAUSAL
from peft_assay_harness.zygote import is_memory_error

SAME = 1e-4
"""Log-probability by which packed and plain may differ in float32."""
SAME_IN_HALF = 0.25
"""Per token, in half precision: no more than what its rounding does; borderline cases are asked again in float32."""

_seen: set[Kind] = set()
"""Kinds of models of which a packed pass was seen to give what plain rows do, in float32, where rounding hides nothing:
the kind of the worker's own adapter before it forks, any other once in each of its children."""


class CausalEngine(LanguageEngine):
    """Scores and answers with one text: prompt first, answer after."""

    task = CAUSAL
    joins = True
    joinable: bool
    """Whether caches of separate passes can be put together; tried once."""

    @property
    def longest(self) -> int | None:
        """Positions of the base less those that virtual tokens take."""
        bound = getattr(self.base.config.get_text_config(), "max_position_embeddings", None)
        return None if bound is None else bound - self.traits.virtual

    def _adapt(self) -> None:
        self.traits = traits_of(self.base, self.adapter)
        self.alone = self.traits.alone
        self._packs = self.traits.packs and not self.alone
        self._verified = False
        self._kind = kind_of(self.model, self.base)
        self._half = self.base.dtype.itemsize < torch.float32.itemsize
        self.joinable = self.traits.window is None
        # Virtual tokens are in the cache after the first pass: later tokens go to the base itself.
        self._decoder: Any = self.base if self.traits.virtual else self.model

    def _length_of(self, row: Row) -> int:
        return len(row.context) + len(row.continuation)

    def embedded(self, rows: Sequence[Row]) -> list[int]:
        """Each row is embedded on its own."""
        return list(range(len(rows)))

    def logits(self, rows: Sequence[Row]) -> Any:
        """See `LanguageEngine.logits`."""
        return self._plain(rows)

    def _plain(self, rows: Sequence[Row], **more: Any) -> Any:
        inputs = [(*row.context, *row.continuation[:-1]) for row in rows]
        tokens, mask = padded(inputs)
        longest = tokens.shape[1]
        places = [
            (index, len(row.context) - 1 + step - longest)
            for index, row in enumerate(rows)
            for step in range(len(row.continuation))
        ]
        found, _ = self.head.at(
            places, lambda: self.model(input_ids=tokens, attention_mask=mask, use_cache=False, **more)
        )
        return found

    def _scored(self, rows: Sequence[Row]) -> Iterator[tuple[Sequence[Row], Sequence[Any]]]:
        if self.alone:
            for row in rows:
                yield [row], [self.logits([row])]
            return
        trees = grow(rows) if self._packs else [Tree(row.context, (row,)) for row in rows]
        for batch in batches(
            trees,
            lambda tree: tree.size,
            lambda tree: max(tree.size, logit_cost(tree.wanted, self.vocabulary)),
        ):
            yield from self._of_trees(batch)

    def _of_trees(self, trees: Sequence[Tree]) -> Iterator[tuple[Sequence[Row], Sequence[Any]]]:
        packable = all(tree.size <= min(MAX_TREE, self.traits.window or MAX_TREE) for tree in trees)
        if self._packs and packable and any(len(tree.rows) > 1 for tree in trees):
            rows = [row for tree in trees for row in tree.rows]
            parts = self._packed(trees)
            if parts is not None:
                yield rows, parts
                return
        plain = [row for tree in trees for row in tree.rows]
        for batch in batches(
            plain,
            self._length_of,
            lambda row: max(self._length_of(row), logit_cost(len(row.continuation), self.vocabulary)),
        ):
            yield batch, _parts(self.logits(batch), batch)

    def _packed(self, trees: Sequence[Tree]) -> Sequence[Any] | None:
        """Logits for all rows of all trees; None, now and for good, where this model packed is not itself."""
        rows = [row for tree in trees for row in tree.rows]
        try:
            packed = pack(trees, self.base.dtype)
            logits, _ = self.head.at(
                packed.places,
                lambda: self.model(
                    input_ids=packed.tokens,
                    attention_mask=packed.mask,
                    position_ids=packed.positions,
                    use_cache=False,
                ),
            )
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
            if is_memory_error(error):
                raise
            self._packs = False
            return None
        parts = _parts(logits, rows)
        telling = next((row for tree in trees for row in tree.beside_others()), None)
        if telling is not None and self._kind not in _seen and not self._verified:
            self._packs = self._verified = self._same(telling, parts[rows.index(telling)])
            if self._packs and not self._half:
                _seen.add(self._kind)
        return parts if self._packs else None

    def _same(self, row: Row, logits: Any) -> bool:
        """Whether a row is given the same on its own.

        Not a number in both is the same, too: an adapter may give nothing else.
        """
        plain = log_probabilities(self.logits([row]), row.continuation)
        packed = log_probabilities(logits, row.continuation)
        tolerance = SAME_IN_HALF if self._half else SAME
        return bool(torch.allclose(plain, packed, rtol=0.0, atol=tolerance, equal_nan=True))

    def _answers(self, rows: Sequence[Row], limit: int, choose: Choose, see: See) -> Mapping[Row, list[int]]:
        answers: dict[Row, list[int]] = {}
        fit = [row for row in rows if self._caches(row, limit)]
        for batch in self._cost_batches([Line(row.context, row, []) for row in fit], limit):
            decode(self, self._decoder, batch, limit, choose, see)
            answers.update({line.row: line.answer for line in batch})
        others = [row for row in rows if not self._caches(row, limit)]
        # Padding in the cache would push real tokens out of a sliding window: what departs from its draft at
        # different places is answered in rows of equal length.
        lines = [Line(row.context, row, answer) for row, answer in self._judged(others, limit, see).items()]
        going = [line for line in lines if not finished(line.answer, limit, self.ends)]
        for line in going:
            line.tokens = (*line.tokens, *line.answer)
            line.draft = ()
        if self.traits.caches:
            for batch in self._cost_batches(going, limit, alike=True):
                decode(self, self._decoder, batch, limit, choose, see)
        else:
            for line in going:
                self._recompute(line, limit, choose)
        answers.update({line.row: line.answer for line in lines})
        return answers

    def _caches(self, row: Row, limit: int) -> bool:
        whole = self._length_of(row) + limit + self.traits.virtual
        return self.traits.caches and (self.traits.window is None or whole <= self.traits.window)

    def _cost_batches(self, lines: Sequence[Line], limit: int, *, alike: bool = False) -> Iterator[list[Line]]:
        if self.alone:
            yield from ([line] for line in lines)
            return
        yield from batches(
            lines,
            line_length,
            lambda line: max(line_length(line) + limit, logit_cost(len(line.draft) + 1, self.vocabulary)),
            size=DECODE_TOKENS if self.joinable else READ_AT_ONCE,
            padding=DECODE_TOKENS,  # is read in passes of their own, and costs a step little
            alike=alike,
        )

    def _judged(self, rows: Sequence[Row], limit: int, see: See) -> dict[Row, list[int]]:
        """How much of its draft each row accepts, by a pass of its own."""
        answers: dict[Row, list[int]] = {row: [] for row in rows}
        for batch, parts in self._scored([row for row in rows if row.continuation]):
            for row, logits in zip(batch, parts, strict=True):
                see(row, logits)
                if self.traits.accepts:
                    answers[row] = accepted(logits.argmax(-1).tolist(), row.continuation, limit, self.ends)
        return answers

    def _recompute(self, line: Line, limit: int, choose: Choose = greedy) -> None:
        """The whole text again for each token.

        Whether, and from where on, an activated LoRA acts is decided by the prompt, as in PEFT's own generate.
        """
        invocation = tuple(getattr(self.adapter, "alora_invocation_tokens", None) or ())
        begins = _last(invocation, line.row.context) if invocation else None
        while not finished(line.answer, limit, self.ends):
            acts = {"alora_offsets": [None if begins is None else len(line.tokens) - begins]} if invocation else {}
            logits = self._plain([Row(line.tokens, (0,))], **acts)
            line.answer += choose(logits, [line.row])
            line.tokens = (*line.tokens, line.answer[-1])


def _last(sought: Tokens, tokens: Tokens) -> int | None:
    """Where `sought` begins for the last time, or None."""
    places = range(len(tokens) - len(sought), -1, -1)
    return next((at for at in places if tokens[at : at + len(sought)] == sought), None)


def _parts(logits: Any, rows: Sequence[Row]) -> Sequence[Any]:
    parts: Sequence[Any] = logits.split([len(row.continuation) for row in rows])
    return parts
