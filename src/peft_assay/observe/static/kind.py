"""What a folder is, in words a person can act on.

Not an observation: policies judge adapters, and this tells what is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from peft_assay.core.artifact import CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.content import Content
from peft_assay.observe.interface import Unreadable
from peft_assay.observe.static.header import LFS_POINTER
from peft_assay.observe.static.reading import read_document
from peft_assay.observe.static.tables import peft_table

_MLX_FIELDS = ("lora_parameters", "lora_layers", "num_layers", "fine_tune_type", "adapter_path")
_MODEL_SUFFIXES = (".safetensors", ".bin", ".gguf")


class Kind(StrEnum):
    """What the files make up."""

    PEFT_ADAPTER = "peft-adapter"
    PEFT_CONFIG_ONLY = "peft-configuration-without-weights"
    PEFT_UNFETCHED = "peft-adapter-with-unfetched-weights"
    MLX_ADAPTER = "mlx-adapter"
    DIFFUSERS_LORA = "diffusers-lora"
    FULL_MODEL = "full-model"
    TRAINER_FOLDER = "folder-of-adapters"
    UNKNOWN = "unknown"


_DESCRIPTIONS = {
    Kind.PEFT_ADAPTER: "a PEFT adapter",
    Kind.PEFT_CONFIG_ONLY: "a PEFT configuration without weights; export with save_pretrained(safe_serialization=True)",
    Kind.PEFT_UNFETCHED: "a PEFT adapter whose weights are a Git LFS pointer; fetch them with: git lfs pull",
    Kind.MLX_ADAPTER: "an MLX adapter: PEFT does not read it; export it to PEFT's format first",
    Kind.DIFFUSERS_LORA: "a diffusers LoRA file; convert it with load_lora_adapter and save_pretrained",
    Kind.FULL_MODEL: "a full model, not an adapter",
    Kind.TRAINER_FOLDER: "a folder of several adapters or checkpoints; name one of them",
    Kind.UNKNOWN: "not a PEFT adapter: there is no adapter_config.json of PEFT's",
}


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A kind and one sentence about it; the sentence is ours, never the artifact's."""

    kind: Kind
    description: str


def classify(files: Mapping[str, Content]) -> SourceKind:
    """What `files` make up; never raises, nothing is executed."""
    kind = _kind(files)
    return SourceKind(kind, _DESCRIPTIONS[kind])


def _kind(files: Mapping[str, Content]) -> Kind:
    try:
        document = read_document(files)
    except Unreadable:
        return _without_config(files) if CONFIG_FILE not in files else Kind.UNKNOWN
    if not isinstance(document.get("peft_type"), str) or document["peft_type"] not in peft_table().types:
        return Kind.MLX_ADAPTER if any(name in document for name in _MLX_FIELDS) else _without_config(files)
    weights = files.get(WEIGHTS_FILE, files.get("adapter_model.bin"))
    if weights is None:
        return Kind.PEFT_CONFIG_ONLY
    return Kind.PEFT_UNFETCHED if weights.head.startswith(LFS_POINTER) else Kind.PEFT_ADAPTER


def _without_config(files: Mapping[str, Content]) -> Kind:
    if any(path.endswith("/" + CONFIG_FILE) for path in files):
        return Kind.TRAINER_FOLDER
    if "adapters.safetensors" in files:
        return Kind.MLX_ADAPTER
    if "pytorch_lora_weights.safetensors" in files:
        return Kind.DIFFUSERS_LORA
    if "config.json" in files and any(path.endswith(_MODEL_SUFFIXES) for path in files):
        return Kind.FULL_MODEL
    return Kind.UNKNOWN
