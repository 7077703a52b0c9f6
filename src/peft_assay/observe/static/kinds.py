"""What a source can be, and one sentence about each: what it is, why that is in the way, and what to do."""

from collections.abc import Mapping
from enum import StrEnum


class Kind(StrEnum):
    """What the files make up."""

    PEFT_ADAPTER = "peft-adapter"
    PEFT_CONFIG_ONLY = "peft-configuration-without-weights"
    PEFT_UNFETCHED = "peft-adapter-with-unfetched-weights"
    PEFT_SHARDED = "peft-adapter-in-shards"
    PEFT_WEIGHTS_ONLY = "lora-weights-without-configuration"
    PEFT_UNKNOWN_TYPE = "peft-configuration-of-unknown-type"
    BROKEN_CONFIG = "unreadable-configuration"
    FOREIGN_CONFIG = "configuration-without-peft-type"
    MLX_ADAPTER = "mlx-adapter"
    DIFFUSERS_LORA = "diffusers-lora"
    IMAGE_LORA = "image-lora"
    GGUF_ADAPTER = "gguf-adapter"
    GGUF_MODEL = "gguf-model"
    ADAPTER_HUB = "adapterhub-adapter"
    TRAINER_CHECKPOINT = "trainer-checkpoint"
    PICKLE = "pickle-without-configuration"
    FULL_MODEL = "full-model"
    TRAINER_FOLDER = "folder-of-adapters"
    UNKNOWN = "unknown"


_BY_PEFT = "ask the publisher for one that PEFT's save_pretrained wrote"

DESCRIPTIONS: Mapping[Kind, str] = {
    Kind.PEFT_ADAPTER: "a PEFT adapter",
    Kind.PEFT_CONFIG_ONLY: "a PEFT configuration without weights; export with save_pretrained(safe_serialization=True)",
    Kind.PEFT_UNFETCHED: "a PEFT adapter whose weights are a Git LFS pointer; fetch them with: git lfs pull",
    Kind.PEFT_SHARDED: "a PEFT adapter whose weights are in several files: PEFT reads adapter_model.safetensors alone; "
    "ask the publisher to save it with save_pretrained, or join the files",
    Kind.PEFT_WEIGHTS_ONLY: "LoRA weights without a configuration: there is no adapter_config.json; "
    "ask the publisher for the one that save_pretrained wrote beside them",
    Kind.PEFT_UNKNOWN_TYPE: "an adapter of a type that this version does not know: its peft_type is not one of PEFT's; "
    "ask the publisher which PEFT wrote it, and look for a peft-assay that knows that one",
    Kind.BROKEN_CONFIG: "not a PEFT adapter: adapter_config.json cannot be read as one JSON object; fetch it again, "
    "or ask the publisher for the one that save_pretrained wrote",
    Kind.FOREIGN_CONFIG: f"not a PEFT adapter: adapter_config.json has no peft_type; {_BY_PEFT}",
    Kind.MLX_ADAPTER: "an MLX adapter: PEFT does not read it; export it to PEFT's format first",
    Kind.DIFFUSERS_LORA: "a diffusers LoRA file; convert it with load_lora_adapter and save_pretrained",
    Kind.IMAGE_LORA: "a LoRA for image models (kohya-ss or LyCORIS): PEFT does not read it; "
    f"load it with diffusers (load_lora_weights), or {_BY_PEFT}",
    Kind.GGUF_ADAPTER: "a LoRA of llama.cpp: PEFT does not read it; ask the publisher for what it was made from",
    Kind.GGUF_MODEL: "a model of llama.cpp, not an adapter; name a folder with adapter_config.json and its weights",
    Kind.ADAPTER_HUB: "an adapter of the adapters library (AdapterHub): PEFT does not read it; "
    f"load it with that library, or {_BY_PEFT}",
    Kind.TRAINER_CHECKPOINT: "a checkpoint of torchtune, LitGPT or NeMo: PEFT does not read it; "
    f"export it with that trainer's converter, or {_BY_PEFT}",
    Kind.PICKLE: "weights in a pickle, without a configuration: there is no adapter_config.json; "
    "ask the publisher for the whole folder, with its weights as safetensors",
    Kind.FULL_MODEL: "a full model, not an adapter; name a folder with adapter_config.json and its weights; "
    "where an adapter was merged into it, ask the publisher for the adapter itself",
    Kind.TRAINER_FOLDER: "a folder of several adapters or checkpoints; name one of them",
    Kind.UNKNOWN: "not a PEFT adapter: there is no adapter_config.json of PEFT's",
}
