"""Tokens of a base that no text reaches, so that no list of words can scan them.

A prompt comes as text, and a tokenizer turns it into some of the base's tokens. The base has others: special and added
ones, which a serving stack may filter or insert, ones that were pruned from the tokenizer or whose text it spells
otherwise, and rows of the embedding beyond all of them. An adapter can be trained to wait for one of these.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from peft_assay.core.exercises import Exercises
from peft_assay.pipeline.suites.tokens import tokenizer_of

BATCH = 4096
PIECE = "\ufffd"


def unreached_ids(base: Path, rows: int | None) -> tuple[int, ...] | None:
    """Return ids of the base in the folder `base`, which embeds `rows` of them, that no text gives; None: not known."""
    tokenizer = tokenizer_of(base)
    if tokenizer is None or rows is None:
        return None
    added = set(tokenizer.get_added_tokens_decoder())
    return (*sorted(token for token in added if token < rows), *_other_ids(tokenizer, rows, added))


def _other_ids(tokenizer: Any, rows: int, added: set[int]) -> Iterator[int]:
    for begin in range(0, rows, BATCH):
        ids = [token for token in range(begin, min(begin + BATCH, rows)) if token not in added]
        texts = tokenizer.decode_batch([[token] for token in ids], skip_special_tokens=False)
        encoded = tokenizer.encode_batch(texts, add_special_tokens=False)
        for token, text, found in zip(ids, texts, encoded, strict=True):
            # a token that decodes to no character of its own is a piece of one, which texts with that character reach
            if token not in found.ids and (PIECE not in text or not tokenizer.id_to_token(token)):
                yield token


def with_ids(exercises: Exercises, base: Path, rows: int | None) -> Exercises:
    """Return `exercises` with the tokens of this base that its scan inserts by their ids, and the number that it leaves
    out.
    """
    scan = exercises.scan
    if scan is None:
        return exercises
    found = unreached_ids(base, rows)
    if found is None:
        return exercises
    taken = found[: scan.most_ids]
    return replace(exercises, scan=replace(scan, ids=taken, unscanned=len(found) - len(taken)))
