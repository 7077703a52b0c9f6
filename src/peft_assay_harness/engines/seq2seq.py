"""Sequence-to-sequence language models: a prompt is encoded once, the decoder scores and answers.

Virtual tokens belong to the encoder (prompt, p-tuning) or the decoder (prefix): with such adapters every pass goes
through PEFT's own forward from the start.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from peft_assay_harness.engines.batches import batches, logit_cost, padded
from peft_assay_harness.engines.choosing import Choose
from peft_assay_harness.engines.interface import Row, Tokens
from peft_assay_harness.engines.language import LanguageEngine, See, accepted, finished
from peft_assay_harness.tasks import SEQ2SEQ


class Seq2SeqEngine(LanguageEngine):
    """Scores and answers with two texts: the encoder reads the prompt, the decoder speaks."""

    task = SEQ2SEQ
    joins = False

    @property
    def longest(self) -> int | None:
        """Positions of the base, where it has a table of them."""
        bound: int | None = getattr(self.base.config, "max_position_embeddings", None)
        return None if bound is None else bound - self._virtual

    def _adapt(self) -> None:
        learns_prompts = self.adapter is not None and self.adapter.is_prompt_learning
        self._virtual: int = self.adapter.num_virtual_tokens if learns_prompts else 0
        start = self.base.generation_config.decoder_start_token_id
        starts = (start, self.base.config.decoder_start_token_id, self.tokenizer.bos_token_id)
        self._start: int = next(token for token in (*starts, 0) if token is not None)

    def _length_of(self, row: Row) -> int:
        return max(len(row.context), len(row.continuation))

    def embedded(self, rows: Sequence[Row]) -> list[int]:
        """Each context is encoded once."""
        contexts = list(dict.fromkeys(row.context for row in rows))
        return [contexts.index(row.context) for row in rows]

    def embeddings(self) -> set[Any]:
        """See `LanguageEngine.embeddings`."""
        return {self.base.get_input_embeddings(), self.base.get_encoder().get_input_embeddings()}

    def logits(self, rows: Sequence[Row]) -> Any:
        """See `LanguageEngine.logits`."""
        tokens, _ = padded([(self._start, *row.continuation[:-1]) for row in rows])
        places = [
            (index, step - tokens.shape[1]) for index, row in enumerate(rows) for step in range(len(row.continuation))
        ]
        read = self._read([row.context for row in rows])
        found, _ = self.head.at(places, lambda: self.model(decoder_input_ids=tokens, use_cache=False, **read))
        return found

    def _read(self, contexts: Sequence[Tokens]) -> dict[str, Any]:
        """What the decoder is given of the prompts: encoder states, each prompt encoded once, or the prompts."""
        if self._virtual:
            tokens, mask = padded(contexts)
            return {"input_ids": tokens, "attention_mask": mask}
        distinct = list(dict.fromkeys(contexts))
        tokens, mask = padded(distinct)
        states = self.base.get_encoder()(input_ids=tokens, attention_mask=mask)
        index = torch.tensor([distinct.index(context) for context in contexts])
        states.last_hidden_state = states.last_hidden_state[index]
        return {"encoder_outputs": states, "attention_mask": mask[index]}

    def _batches(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        yield from batches(
            rows,
            lambda row: len(row.context),
            lambda row: max(
                len(row.context) + len(row.continuation), logit_cost(len(row.continuation) or 1, self.vocabulary)
            ),
        )

    def _scored(self, rows: Sequence[Row]) -> Iterator[tuple[Sequence[Row], Sequence[Any]]]:
        for batch in self._batches(rows):
            yield batch, self.logits(batch).split([len(row.continuation) for row in batch])

    def _answers(self, rows: Sequence[Row], limit: int, choose: Choose, see: See) -> Mapping[Row, list[int]]:
        answers: dict[Row, list[int]] = {row: [] for row in rows}
        for batch, parts in self._scored([row for row in rows if row.continuation]):
            for row, logits in zip(batch, parts, strict=True):
                see(row, logits)
                answers[row] = accepted(logits.argmax(-1).tolist(), row.continuation, limit, self.ends)
        # The decoder counts positions by what is in its cache: rows that go on from the same place go together.
        for begun in sorted({len(answer) for answer in answers.values()}):
            group = [row for row in rows if len(answers[row]) == begun and not finished(answers[row], limit, self.ends)]
            for batch in self._batches(group):
                self._decode(batch, answers, limit, choose)
        return answers

    def _decode(self, rows: Sequence[Row], answers: dict[Row, list[int]], limit: int, choose: Choose) -> None:
        read = self._read([row.context for row in rows])
        alive = list(rows)
        cache = None
        while alive:
            spoken = [(self._start, *answers[row]) for row in alive]
            tokens = torch.tensor([row[-1:] for row in spoken] if cache is not None else spoken)
            keep = {"use_cache": False} if self._virtual else {"use_cache": True, "past_key_values": cache}
            output = self.model(decoder_input_ids=tokens, **keep, **read)
            cache = None if self._virtual else output.past_key_values
            chosen = choose(output.logits[:, -1].float(), alive)
            for row, token in zip(alive, chosen, strict=True):
                answers[row].append(token)
            going = [at for at, row in enumerate(alive) if not finished(answers[row], limit, self.ends)]
            if len(going) < len(alive):
                alive = [alive[at] for at in going]
                index = torch.tensor(going, dtype=torch.long)
                read = _of_rows(read, index)
                if cache is not None and alive:
                    cache.batch_select_indices(index)


def _of_rows(read: dict[str, Any], index: Any) -> dict[str, Any]:
    kept = {name: value[index] for name, value in read.items() if name != "encoder_outputs"}
    if "encoder_outputs" in read:
        states = read["encoder_outputs"]
        states.last_hidden_state = states.last_hidden_state[index]
        kept["encoder_outputs"] = states
    return kept
