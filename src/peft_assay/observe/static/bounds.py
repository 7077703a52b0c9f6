"""bounds.exceeded and bounds.max_rank: sizes that a loader would allocate from the configuration alone.

PEFT allocates before it compares any shape: a file of a few kilobytes whose rank_pattern says 2000000 takes gigabytes,
one that says 2e9 asks for half a terabyte. These limits are absolute, far over what published adapters use, and not the
engine's (see stack.unsupported).
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from peft_assay.core.canonical import MAX_EXACT_INTEGER
from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.reading import Configuration, is_number, is_whole, read_configuration

MAX_RANK = 512
MAX_SCALING = 1024
"""alpha / r, or alpha / sqrt(r) where use_rslora is set."""
MAX_ENTRIES = 1_000
"""Of any list or pattern; trainable token rows may be more."""
MAX_TOKEN_ROWS = 100_000
MAX_TEXT = 2_000
"""Characters of any text, regular expressions among them: matching time grows with the pattern."""
MAX_SIZES: Mapping[str, int] = {
    "num_virtual_tokens": 4_096,
    "num_frozen_tokens": 4_096,
    "encoder_hidden_size": 16_384,
    "encoder_num_layers": 64,
    "num_transformer_submodules": 8,
    "num_layers": 1_000,
    "num_attention_heads": 1_024,
    "token_dim": 65_536,
    "num_tasks": 1_024,
    "num_ranks": MAX_RANK,
    "n_tasks": 1_024,
    "n_skills": 1_024,
    "n_splits": 1_024,
    "adapter_len": 4_096,
    "adapter_layers": 1_000,
    "n_frequency": 1_000_000,
    "num_vectors": 65_536,
    "vector_length": 65_536,
    "topk": 1_024,
    "hybrid_r": MAX_RANK,
    "depth": 64,
    "xlora_depth": 64,
    "xlora_size": 16_384,
    "num_B": 1_024,
    "hidden_size": 65_536,
    "block_size": 65_536,
    "boft_n_butterfly_factor": 32,
    "num_cayley_neumann_terms": 256,
    "psoft_svd_lowrank_niter": 1_024,
    "num_subspaces": 1_024,
    "u": 65_536,
    "update_hidden_size": 65_536,
    "shadow_hidden_size": 65_536,
    "shadow_intermediate_size": 262_144,
    "shadow_num_attention_heads": 1_024,
    "shadow_num_hidden_layers": 1_000,
    "theta_d_length": 1 << 24,
}
MAX_NUMBER = 1 << 24
"""Magnitude of any other number but a seed: whatever a new field means, nothing of this size is ordinary."""
_SEEDS = ("seed", "prng_key")
PRUNING = "ADALORA"
"""The type whose training leaves a list in rank_pattern: for each rank of a module, whether it was kept."""
_RANK_FIELDS = ("r", "init_r", "target_r", "effective_rank", "subspace_rank")
_ALPHA_FIELDS = ("lora_alpha", "alpha", "randlora_alpha", "psoft_alpha", "shadow_alpha")


def ranks(configuration: Configuration) -> dict[str, int]:
    """Every rank the configuration asks for, by field or pattern; raises Unreadable for one that is not a number."""
    found: dict[str, int] = {}
    for name in _RANK_FIELDS:
        if configuration.get(name) is not None:
            found[name] = _whole(name, configuration.get(name))
    for module, value in configuration.mapping("rank_pattern").items():
        kept = (
            configuration.peft_type == PRUNING and isinstance(value, list) and all(type(one) is bool for one in value)
        )
        found[f"rank_pattern.{module}"] = sum(value) if kept else _whole(f"rank_pattern.{module}", value)
    return found


def _whole(name: str, value: Any) -> int:
    if not is_whole(value):
        raise Unreadable(f"{name} is not a whole number")
    return int(value)


def max_rank(configuration: Configuration) -> int:
    """The largest rank; 0 for types without ranks."""
    return max(ranks(configuration).values(), default=0)


def exceeded(configuration: Configuration) -> Iterator[str]:
    """Every size over its limit, as text with both numbers."""
    for name, rank in ranks(configuration).items():
        # OFT declares either the rank or the block size and leaves the other at 0; AdaLoRA may prune a module to none.
        pruned = configuration.peft_type == PRUNING and name.startswith("rank_pattern.")
        lowest = 0 if pruned or configuration.peft_type in {"OFT", "SUPERTUNING"} else 1
        if not lowest <= rank <= MAX_RANK:
            yield f"{name}: {rank} is not in {lowest}..{MAX_RANK}"
    yield from _scalings(configuration)
    for name, limit in MAX_SIZES.items():
        value = configuration.get(name)
        if value is not None and not (is_whole(value) and 0 <= value <= limit):
            yield f"{name}: not a whole number in 0..{limit}"
    for name, value in configuration.values.items():
        yield from _large(name, value)
        judged = name in MAX_SIZES or name in _RANK_FIELDS or name in _ALPHA_FIELDS or name.endswith(_SEEDS)
        if not judged and is_number(value) and abs(value) > MAX_NUMBER:
            yield f"{name}: larger than {MAX_NUMBER}"


def _scalings(configuration: Configuration) -> Iterator[str]:
    by_module = ranks(configuration)
    rank = by_module.get("r", 1)
    alphas = {name: configuration.get(name) for name in _ALPHA_FIELDS if configuration.get(name) is not None}
    alphas |= {f"alpha_pattern.{module}": value for module, value in configuration.mapping("alpha_pattern").items()}
    lowest = min([max(rank, 1), *(max(value, 1) for name, value in by_module.items() if name.startswith("rank_p"))])
    lowest = min(lowest, MAX_NUMBER)  # and the root of a number too large for a double
    divisor = math.sqrt(lowest) if configuration.get("use_rslora") else lowest
    for name, alpha in alphas.items():
        if not is_number(alpha) or not 0 < alpha <= MAX_SCALING * divisor:
            yield f"{name}: alpha over rank is not in (0, {MAX_SCALING}]"


def _large(name: str, value: Any) -> Iterator[str]:
    texts: list[Any] = [value]
    if isinstance(value, list | dict):
        limit = MAX_TOKEN_ROWS if name in {"trainable_token_indices", "token_indices"} else MAX_ENTRIES
        if len(value) > limit:
            yield f"{name}: {len(value)} entries, more than {limit}"
        texts = [*value, *value.values()] if isinstance(value, dict) else value
    if any(isinstance(text, str) and len(text) > MAX_TEXT for text in texts):
        yield f"{name}: text of more than {MAX_TEXT} characters"


class BoundsProbe:
    """bounds.exceeded and bounds.max_rank."""

    id = "bounds"
    version = "1"
    terms = ("bounds.exceeded", "bounds.max_rank")

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable when the configuration has not one reading or a rank is not a number."""
        configuration = read_configuration(subject)
        yield ok(self.terms[0], tuple(exceeded(configuration)), by=ObservedBy.INTAKE)
        most = max_rank(configuration)
        if most > MAX_EXACT_INTEGER:
            yield failed(self.terms[1], "more than 2**53 - 1, which cannot be signed exactly", by=ObservedBy.INTAKE)
        else:
            yield ok(self.terms[1], most, by=ObservedBy.INTAKE)
