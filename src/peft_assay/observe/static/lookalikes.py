"""Sources without a configuration of PEFT's, told apart by the names and first bytes that other tools write.

GGUF says what it is in `general.type` (llama.cpp), ggla is its predecessor; kohya-ss and LyCORIS are known by names of
tensors, which a safetensors file begins with; the others by the names of their files.
"""

import re
from collections.abc import Callable, Mapping

from peft_assay.core.content import Content
from peft_assay.observe.static.kinds import Kind

Files = Mapping[str, Content]

_MODEL_SUFFIXES = (".safetensors", ".bin")
_IMAGE = re.compile(
    rb"lora_(unet|te[0-9]?|transformer|prior)_|lora_(down|up)\.weight|\.(lokr|hada)_w[12]|ss_network_module"
    rb'|"lycoris_|\.(oft_blocks|oft_diag|on_input)"'
)
_LYCORIS = re.compile(
    rb'"lycoris_(model_)?(base_model_|language_model_|model_)*'
    rb"(layers_\d|(de|en)coder_(layers?|block)_\d|embed_tokens|transformer_h_|h_\d|gpt_neox_|lm_head|score|classifier|\w*berta?_)"
)
"""Modules of language models, as LyCORIS writes their paths; its other prefixes are those of image models."""
_UNHELD = re.compile(
    rb"\.(diff(_b)?|oft_blocks|oft_diag|on_input|rescale|scalar|dora_scale|[ab][12]\.weight|lora_mid\.weight|hada_t1|lokr_t2"
    rb'|w1\.weight|bundle_emb)"'
)
"""Parts of LyCORIS's full, OFT, IA3 and GLoRA, of convolutions and of DoRA, which no type of PEFT holds as they are."""
_LORA = re.compile(rb"\.lora_(A|B|embedding_A|embedding_B)\b")
_GGUF, _GGLA = re.compile(rb"\AGGUF"), re.compile(rb"\Aalgg")
_GGUF_ADAPTER = re.compile(rb"(?s)\AGGUF.*general\.type.{12}adapter")
"""A key, the number of its type (4 bytes), the length of the text (8) and the text."""
_TRAINERS = re.compile(r"(.*/)?(adapter_[0-9]+\.pt|.*\.pth\.lora|.*\.nemo)")


def look_alike(files: Files) -> Kind:
    """What `files` are in another tool's terms; never raises, nothing is executed."""
    return next((kind for kind, is_one in _KINDS if is_one(files)), Kind.UNKNOWN)


def _named(*names: str) -> Callable[[Files], bool]:
    return lambda files: any(name in files for name in names)


def _begins(pattern: re.Pattern[bytes], suffix: str = "") -> Callable[[Files], bool]:
    return lambda files: any(
        path.endswith(suffix) and pattern.search(content.head) is not None for path, content in files.items()
    )


def _is_unheld(files: Files) -> bool:
    heads = [content.head for path, content in files.items() if path.endswith(".safetensors")]
    return any(_LYCORIS.search(head) is not None and _UNHELD.search(head) is not None for head in heads)


def _is_full_model(files: Files) -> bool:
    return "config.json" in files and any(path.endswith(_MODEL_SUFFIXES) for path in files)


def _is_checkpoint(files: Files) -> bool:
    return any(_TRAINERS.fullmatch(path) for path in files)


def _is_pickle(files: Files) -> bool:
    return any(path in {"data.pkl", "adapter_model.bin"} or path.endswith("/data.pkl") for path in files)


_KINDS: tuple[tuple[Kind, Callable[[Files], bool]], ...] = (
    (Kind.MLX_ADAPTER, _named("adapters.safetensors", "adapters.npz")),
    (Kind.DIFFUSERS_LORA, _named("pytorch_lora_weights.safetensors")),
    (Kind.ADAPTER_HUB, _named("pytorch_adapter.bin", "head_config.json")),
    (Kind.GGUF_ADAPTER, _begins(_GGLA)),
    (Kind.GGUF_ADAPTER, _begins(_GGUF_ADAPTER)),
    (Kind.GGUF_MODEL, _begins(_GGUF)),
    (Kind.LYCORIS_UNHELD, _is_unheld),
    (Kind.LYCORIS, _begins(_LYCORIS, ".safetensors")),
    (Kind.IMAGE_LORA, _begins(_IMAGE, ".safetensors")),
    (Kind.FULL_MODEL, _is_full_model),
    (Kind.PEFT_WEIGHTS_ONLY, _begins(_LORA, ".safetensors")),
    (Kind.TRAINER_CHECKPOINT, _is_checkpoint),
    (Kind.PICKLE, _is_pickle),
)
"""In this order: what is more particular comes first."""
