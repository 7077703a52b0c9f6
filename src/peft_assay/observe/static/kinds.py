"""What a source can be, and one sentence about each: what it is, why that is in the way, and what to do."""

from collections.abc import Mapping
from enum import StrEnum


class Kind(StrEnum):
    """What the files make up."""

    PEFT_ADAPTER = "peft-adapter"
    PEFT_CONFIG_ONLY = "peft-configuration-without-weights"
    PEFT_UNFETCHED = "peft-adapter-with-unfetched-weights"
    PEFT_SHARDED = "peft-adapter-in-shards"
    PEFT_EMPTY = "peft-adapter-with-empty-weights"
    PEFT_UNFINISHED = "peft-adapter-whose-download-was-not-finished"
    PEFT_IN_PARTS = "peft-adapter-in-parts"
    PEFT_MISNAMED = "peft-configuration-with-weights-of-another-name"
    CONFIG_UNFETCHED = "configuration-that-was-not-fetched"
    CONFIG_EMPTY = "empty-configuration"
    PEFT_WEIGHTS_ONLY = "lora-weights-without-configuration"
    PEFT_UNKNOWN_TYPE = "peft-configuration-of-unknown-type"
    PEFT_UNTYPED = "lora-without-peft-type"
    PEFT_BONE = "bone-adapter"
    PEFT_OLD_OFT = "oft-adapter-of-an-older-peft"
    MARKED_CONFIG = "configuration-with-byte-order-mark"
    BROKEN_CONFIG = "unreadable-configuration"
    FOREIGN_CONFIG = "configuration-without-peft-type"
    MLX_ADAPTER = "mlx-adapter"
    DIFFUSERS_LORA = "diffusers-lora"
    IMAGE_LORA = "image-lora"
    LYCORIS = "lycoris-adapter"
    LYCORIS_UNHELD = "lycoris-adapter-that-peft-cannot-hold"
    GGUF_ADAPTER = "gguf-adapter"
    GGUF_MODEL = "gguf-model"
    ADAPTER_HUB = "adapterhub-adapter"
    ADAPTER_HUB_LORA = "adapterhub-lora"
    TRAINER_CHECKPOINT = "trainer-checkpoint"
    PICKLE = "pickle-without-configuration"
    FULL_MODEL = "full-model"
    TRAINER_FOLDER = "folder-of-adapters"
    UNKNOWN = "unknown"


_PAGE = "docs/how-to/convert-an-adapter.md"
_IMAGES = "certify asks models of language and classifiers, and no image model; to look at its tensors, make it PEFT's"
_BY_PEFT = "ask the publisher for one that PEFT's save_pretrained wrote"

DESCRIPTIONS: Mapping[Kind, str] = {
    Kind.PEFT_ADAPTER: "a PEFT adapter",
    Kind.PEFT_CONFIG_ONLY: "a PEFT configuration without weights; export with save_pretrained(safe_serialization=True)",
    Kind.PEFT_UNFETCHED: "a PEFT adapter whose weights are a Git LFS pointer; fetch them with: git lfs pull",
    Kind.PEFT_SHARDED: "a PEFT adapter whose weights are in several files: PEFT reads adapter_model.safetensors alone; "
    "ask the publisher to save it with save_pretrained, or join the files",
    Kind.PEFT_EMPTY: "a PEFT adapter whose weights file is empty (0 bytes); fetch it again, or ask the publisher",
    Kind.PEFT_UNFINISHED: "a PEFT configuration beside a download that was not finished (.incomplete, .part, .tmp): "
    "there is no adapter_model.safetensors; fetch it again to the end",
    Kind.PEFT_IN_PARTS: "a PEFT adapter whose weights file is cut into parts, and PEFT reads it whole; "
    "join them: cat adapter_model.safetensors.* > adapter_model.safetensors",
    Kind.PEFT_MISNAMED: "a PEFT configuration without adapter_model.safetensors, beside weights of another name, which "
    "PEFT does not read; if they are the adapter's, save it again with save_pretrained(safe_serialization=True)",
    Kind.CONFIG_UNFETCHED: "not a PEFT adapter yet: adapter_config.json is a Git LFS pointer; "
    "fetch it with: git lfs pull",
    Kind.CONFIG_EMPTY: "not a PEFT adapter: adapter_config.json is empty (0 bytes); fetch it again, "
    "or ask the publisher for the one that save_pretrained wrote",
    Kind.PEFT_WEIGHTS_ONLY: "LoRA weights without a configuration: there is no adapter_config.json; "
    "ask the publisher for the one that save_pretrained wrote beside them",
    Kind.PEFT_UNKNOWN_TYPE: "an adapter of a type that this version does not know: its peft_type is not one of PEFT's; "
    "ask the publisher which PEFT wrote it, and look for a peft-assay that knows that one",
    Kind.PEFT_UNTYPED: "a LoRA without peft_type: adapter_config.json does not name it, and PEFT does not read it so; "
    f'add "peft_type": "LORA" and "task_type" in a copy, as {_PAGE} shows',
    Kind.PEFT_BONE: "a Bone adapter of PEFT 0.14 to 0.18: PEFT 0.19 knows the type as MiSS alone; "
    f"rename type and tensors in a copy, as {_PAGE} shows",
    Kind.PEFT_OLD_OFT: "an OFT adapter of PEFT 0.15 or older: PEFT 0.16 has other tensors than oft_r and oft_s, and "
    "would serve the base without them; retrain it with a PEFT of today: no conversion keeps its scales (oft_s)",
    Kind.MARKED_CONFIG: "a PEFT adapter with a byte order mark: PEFT's reader refuses adapter_config.json so; "
    "save it as UTF-8 without one: sed -i '1s/^\\xEF\\xBB\\xBF//' adapter_config.json",
    Kind.BROKEN_CONFIG: "not a PEFT adapter: adapter_config.json cannot be read as one JSON object; fetch it again, "
    "or ask the publisher for the one that save_pretrained wrote",
    Kind.FOREIGN_CONFIG: f"not a PEFT adapter: adapter_config.json has no peft_type; {_BY_PEFT}",
    Kind.MLX_ADAPTER: "an MLX adapter: PEFT does not read it; "
    f"convert it with its scale and its base, as {_PAGE} shows",
    Kind.DIFFUSERS_LORA: f"a diffusers LoRA file for an image model: PEFT does not read it; {_IMAGES}: {_PAGE}",
    Kind.IMAGE_LORA: f"a LoRA for image models (kohya-ss or LyCORIS): PEFT does not read it; {_IMAGES}: {_PAGE}",
    Kind.LYCORIS: "a LyCORIS adapter of a language model (LoCon, LoHa or LoKr): PEFT does not read it; "
    f"convert it, as {_PAGE} shows",
    Kind.LYCORIS_UNHELD: "a LyCORIS adapter with full matrices, OFT or another part that no type of PEFT holds: "
    "PEFT does not read it; ask the publisher for LoCon, LoHa or LoKr, or merge it into a base of its own (merge_to)",
    Kind.GGUF_ADAPTER: "a LoRA of llama.cpp: PEFT does not read it; ask the publisher for what it was made from",
    Kind.GGUF_MODEL: "a model of llama.cpp, not an adapter; name a folder with adapter_config.json and its weights",
    Kind.ADAPTER_HUB: "an adapter of the adapters library (AdapterHub) of a kind that PEFT does not have: "
    "PEFT does not read it; ask the publisher for its LoRA (LoRAConfig), which can be converted",
    Kind.ADAPTER_HUB_LORA: "a LoRA of the adapters library (AdapterHub): PEFT does not read it; "
    f"convert it, as {_PAGE} shows",
    Kind.TRAINER_CHECKPOINT: "a checkpoint of torchtune, LitGPT or NeMo: PEFT does not read it; "
    f"export it with that trainer's converter, or {_BY_PEFT}",
    Kind.PICKLE: "weights in a pickle, without a configuration: there is no adapter_config.json; "
    "ask the publisher for the whole folder, with its weights as safetensors",
    Kind.FULL_MODEL: "a full model, not an adapter; name a folder with adapter_config.json and its weights; "
    "where an adapter was merged into it, ask the publisher for the adapter itself",
    Kind.TRAINER_FOLDER: "a folder of adapters or checkpoints, none at its top; name one of them: {folders}",
    Kind.UNKNOWN: "not a PEFT adapter: there is no adapter_config.json of PEFT's",
}
