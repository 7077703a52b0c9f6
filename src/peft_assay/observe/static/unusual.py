"""config.unusual: settings that are valid, and that a reader of the configuration would want to be told of.

None of them is wrong by itself. Thresholds are what the published adapters that were looked at do not reach: alpha over
rank is between 1/2 and 4, exclusive, for most.
"""

import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from peft_assay.core.artifact import CONFIG_FILE
from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.bounds import max_rank
from peft_assay.observe.static.config import left_out
from peft_assay.observe.static.reading import Configuration, is_number, read_configuration, read_weights
from peft_assay.observe.static.scales import number

LARGE_RANK = 256
MAX_NAMED = 20
"""Targets without tensors that are named."""
_EMBEDDINGS = re.compile(
    r"(?i)(.*\.)?(lm_head|embed_tokens|embeddings?|wte|word_embeddings|output_layer|score|classifier)"
)
_FLAGS = (
    "use_rslora", "fan_in_fan_out", "use_dora", "lora_bias", "auto_mapping", "use_qalora", "megatron_config",
    "target_parameters",
)  # fmt: skip
_PATHS = re.compile(r"(?i)(/(home|users|root|mnt|content|kaggle|workspace|data)/|[a-z]:\\users\\)[^\"]*")


def unusual(configuration: Configuration, subject: StaticSubject) -> Iterator[str]:
    """Codes, each with what it is about."""
    yield from _strength(configuration)
    yield from (f"{name} is set" for name in _FLAGS if configuration.get(name))
    targets = configuration.get("target_modules")
    if isinstance(targets, str):
        yield f"target-expression: {targets[:120]}"
    for name in configuration.names("target_modules"):
        if _EMBEDDINGS.fullmatch(name):
            yield f"targets-embeddings-or-head: {name}"
    yield from (f"target-without-tensors: {name}" for name in _absent(configuration, subject))
    yield from (f"saves-in-full: {name}" for name in configuration.names("modules_to_save"))
    if configuration.peft_type == "LORA" and "rank_pattern" not in configuration.values:
        yield "old-configuration: written by PEFT 0.5 or older"
    inert = left_out(configuration)
    yield from (f"unknown-without-value: {name[:120]}, which PEFT leaves out" for name in inert[:MAX_NAMED])
    content = subject.files[CONFIG_FILE].body or b""
    if b"\r\n" in content:
        yield "crlf: written or edited on another system"
    found = _PATHS.search(content.decode("utf-8", "replace"))
    if found:
        yield f"private-path: {found[0][:120]}"
    yield from _dtypes(subject)


def _absent(configuration: Configuration, subject: StaticSubject) -> tuple[str, ...]:
    """Listed target modules that no tensor of the file is of: PEFT adapts the others and says nothing."""
    targets = configuration.get("target_modules")
    if not isinstance(targets, list):
        return ()
    try:
        tensors = read_weights(subject).tensors
    except Unreadable:
        return ()
    components = {component for tensor in tensors for component in tensor.name.split(".")}
    named = dict.fromkeys(configuration.names("target_modules"))
    return tuple(name for name in named if name.rsplit(".", 1)[-1] not in components)[:MAX_NAMED]


def _strength(configuration: Configuration) -> Iterator[str]:
    rank, alpha = configuration.get("r"), configuration.get("lora_alpha")
    if is_number(rank) and is_number(alpha) and rank > 0:
        root = bool(configuration.get("use_rslora"))
        ratio: Any = number("lora_alpha", alpha) / (math.sqrt(number("r", rank)) if root else number("r", rank))
        if not 0.5 < ratio < 4:
            yield f"scaling: alpha / {'sqrt(r)' if root else 'r'} is {ratio:g}"
    for name in ("alpha_pattern", "rank_pattern"):
        written = configuration.mapping(name)
        if written and configuration.peft_type != "ADALORA":
            yield f"{name}: {len(written)} expressions give single modules another {name.partition('_')[0]}"
    if max_rank(configuration) >= LARGE_RANK:
        yield f"large-rank: {max_rank(configuration)}"
    if "alpha" in configuration.values and "alpha" not in configuration.row.fields:
        yield "alpha: PEFT does not read this name; lora_alpha is meant"


def _dtypes(subject: StaticSubject) -> Iterator[str]:
    try:
        found = sorted({tensor.dtype for tensor in read_weights(subject).tensors} - {"F32"})
    except Unreadable:
        return
    if found:
        yield f"stored-as: {', '.join(found)}"


class UnusualProbe:
    """config.unusual."""

    id = "unusual"
    version = "3"
    terms = ("config.unusual",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable when the configuration has not one reading."""
        yield ok(self.terms[0], tuple(unusual(read_configuration(subject), subject)), by=ObservedBy.INTAKE)
