"""LoRA and its kin: s * B * A. rsLoRA, DoRA (with its magnitudes), AdaLoRA, embeddings, convolutions, experts."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from peft_assay.fingerprint.configuration import Configuration
from peft_assay.fingerprint.interface import Operation, Part, Uncomputable, factors, plain
from peft_assay.fingerprint.tensors import Tensor

MARKS = ("lora_A", "lora_embedding_A", "lora_B", "lora_embedding_B")
_EPSILON = 1e-5
"""PEFT's AdaLoRA divides by its initial rank plus this number, also after it pruned ranks."""


def parts(module: str, at: Mapping[str, Tensor], config: Configuration) -> Iterator[Part]:
    """Yield the update of `module`, and its magnitudes where the configuration says that they are used."""
    down, up = at.get("lora_A", at.get("lora_embedding_A")), at.get("lora_B", at.get("lora_embedding_B"))
    if down is None or up is None or min(len(down.shape), len(up.shape)) < 2:
        raise Uncomputable("one of its two factors is missing", where=module)
    a, b = _matrix(down.values()), _matrix(up.values())
    rank = a.shape[0]
    if rank == 0:
        return  # AdaLoRA may prune all ranks of a module
    experts = _experts(module, rank, config)
    if "lora_E" in at:
        a = at["lora_E"].values().reshape(-1, 1) * a
        scale = config.number("lora_alpha", 8) / (config.number("init_r", 12) + _EPSILON)
    else:
        scale = strength(module, rank // experts, config)
    b = scale * b
    if experts == 1:
        yield factors(module, Operation.ADD, b, a)
    else:
        yield from _by_expert(module, a, b, experts)
    if "lora_B.bias" in at:
        yield plain(f"{module}.bias", Operation.ADD, scale * at["lora_B.bias"].values())
    if "lora_magnitude_vector" in at and config.flag("use_dora"):
        yield plain(module, Operation.MAGNITUDE, at["lora_magnitude_vector"].values().reshape(-1))


def strength(module: str, rank: int, config: Configuration) -> float:
    """Return the factor s of `module`: alpha / r, or alpha / sqrt(r) with rsLoRA."""
    alpha = config.pattern("alpha_pattern", module, config.number("lora_alpha", 8))
    return alpha / (math.sqrt(rank) if config.flag("use_rslora") else rank)


def _matrix(values: Any) -> Any:
    return values.reshape(values.shape[0], -1)


def _experts(module: str, rank: int, config: Configuration) -> int:
    """Return the number of experts that share these factors (`target_parameters`): the stored rank is that many times
    the declared rank.
    """
    declared = config.pattern("rank_pattern", module, config.number("r", 8))
    if not config.flag("target_parameters") or declared < 1 or rank % declared:
        return 1
    return int(rank // declared)


def _by_expert(module: str, a: Any, b: Any, experts: int) -> Iterator[Part]:
    """Yield the factors of each expert: PEFT stores A as (experts, rank, inputs) and B as (outputs, rank, experts)."""
    downs, ups = a.reshape(experts, -1, a.shape[1]), b.reshape(b.shape[0], -1, experts)
    for number in range(experts):
        yield factors(f"{module}.{number}", Operation.ADD, ups[:, :, number], downs[number])
