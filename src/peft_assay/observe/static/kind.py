"""What a folder is, in words a person can act on.

Not an observation: policies judge adapters, and this tells what is none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from peft_assay.core.artifact import CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.content import Content
from peft_assay.observe.interface import Unreadable
from peft_assay.observe.static.header import LFS_POINTER
from peft_assay.observe.static.kinds import DESCRIPTIONS, Kind
from peft_assay.observe.static.lookalikes import look_alike
from peft_assay.observe.static.reading import read_document
from peft_assay.observe.static.tables import peft_table

_MLX_FIELDS = ("lora_parameters", "lora_layers", "num_layers", "fine_tune_type", "adapter_path")
_SHARD = re.compile(r"adapter_model-[0-9]+-of-[0-9]+\.(safetensors|bin)|adapter_model\.(safetensors|bin)\.index\.json")


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A kind and one sentence about it; the sentence is ours, never the artifact's."""

    kind: Kind
    description: str


def classify(files: Mapping[str, Content]) -> SourceKind:
    """What `files` make up; never raises, nothing is executed."""
    kind = _kind(files)
    return SourceKind(kind, DESCRIPTIONS[kind])


def _kind(files: Mapping[str, Content]) -> Kind:
    try:
        document = read_document(files)
    except Unreadable:
        return Kind.BROKEN_CONFIG if CONFIG_FILE in files else _without_config(files)
    named = document.get("peft_type")
    if not isinstance(named, str) or named not in peft_table().types:
        found = Kind.MLX_ADAPTER if any(name in document for name in _MLX_FIELDS) else _without_config(files)
        if found in _MAY_BE_PEFT:
            return Kind.PEFT_UNKNOWN_TYPE if isinstance(named, str) else Kind.FOREIGN_CONFIG
        return found
    weights = files.get(WEIGHTS_FILE, files.get("adapter_model.bin"))
    if weights is None:
        return Kind.PEFT_SHARDED if any(_SHARD.fullmatch(path) for path in files) else Kind.PEFT_CONFIG_ONLY
    return Kind.PEFT_UNFETCHED if weights.head.startswith(LFS_POINTER) else Kind.PEFT_ADAPTER


_MAY_BE_PEFT = {Kind.UNKNOWN, Kind.PEFT_WEIGHTS_ONLY, Kind.PICKLE}
"""Kinds that are about a missing configuration; where there is one, it is what is in the way."""


def _without_config(files: Mapping[str, Content]) -> Kind:
    if any(path.endswith("/" + CONFIG_FILE) for path in files):
        return Kind.TRAINER_FOLDER
    return look_alike(files)
