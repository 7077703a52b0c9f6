"""Prefix tuning: keys and values that stand before the prompt, in each layer and head.

Attention asks a sum over them, so their order changes no answer: within each head of each layer tokens may be permuted,
and differently in each. Compared are therefore sums over tokens. Products of numbers alone would also be the same after
a rotation, which changes answers; products with squares are not.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from peft_assay.fingerprint.configuration import Configuration
from peft_assay.fingerprint.interface import Operation, Part, bounded
from peft_assay.fingerprint.tensors import Tensor

KIND = "PREFIX_TUNING"


def parts(name: str, tensor: Tensor, config: Configuration) -> Iterator[Part]:
    """Yield the one part of a prefix; as it is stored, where the configuration does not say which columns are of one
    head.
    """
    heads = _heads(tensor, config)
    if heads is None:
        yield Part(name, Operation.PROMPT, tensor.matrix(), rows=tensor.rows, stored=(tensor,))
        return
    columns = heads.shape[2]
    scale = float(np.sqrt((heads * heads).mean())) or 1.0

    def rows(begin: int, end: int) -> Any:
        first, last = begin // (2 * columns), -(-end // (2 * columns))
        sums = [part for head in heads[first:last] for part in (head.T @ head, head.T @ (head * head) / scale)]
        skipped = begin % (2 * columns)
        return np.concatenate(sums)[skipped : skipped + end - begin]

    shape = (len(heads) * 2 * columns, columns)
    yield Part(name, Operation.PROMPT, shape, rows=rows, stored=(_ordered(heads),))


def _heads(tensor: Tensor, config: Configuration) -> Any:
    """Return a prefix as (layers x heads, tokens, key and value of one head), divided as PEFT does; None where that is
    impossible.
    """
    said = [config.values.get(name) for name in ("num_layers", "num_attention_heads", "token_dim")]
    counts = [value for value in said if type(value) is int and value > 0]
    if len(tensor.shape) != 2 or len(counts) != len(said):
        return None
    (tokens, columns), (layers, heads, width) = tensor.shape, counts
    if tokens < 1 or width % heads or columns != layers * 2 * width:
        return None
    bounded(tensor.name, tokens, columns)
    divided = tensor.values().reshape(tokens, layers, 2, heads, width // heads)
    return divided.transpose(1, 3, 0, 2, 4).reshape(layers * heads, tokens, 2 * (width // heads))


def _ordered(heads: Any) -> Any:
    """Return the tokens of each head in an order that depends on their numbers alone."""
    exact = np.ascontiguousarray(heads + 0.0)  # no negative zero
    return np.stack([np.stack(sorted(head, key=lambda token: token.tobytes())) for head in exact])
