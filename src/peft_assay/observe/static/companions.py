"""artifact.companions: files beside the adapter that say or do something, each named for what it is.

`AutoTokenizer.from_pretrained(adapter)` takes a chat template or a tokenizer from here without a word, `AutoModel` an
embedded config.json instead of the base; code and notebooks are for people who clone and run; the rest is left over
from training.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from peft_assay.core.artifact import CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.content import Content
from peft_assay.core.errors import DocumentError
from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.core.parse import parse_json
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.header import LFS_POINTER

_NAMED = {
    "code": r".*\.(py|pyc|so|sh|ps1|bat|js|whl)",
    "notebook": r".*\.ipynb",
    "chat-template": r"(.*/)?chat_template\.json|.*\.jinja2?",
    "tokenizer": r"(.*/)?(tokenizer.*|vocab.*|merges\.txt|special_tokens_map\.json|added_tokens\.json|.*\.model)",
    "embedded-model-config": r"(.*/)?config\.json",
    "generation-config": r"(.*/)?generation_config\.json",
    "training-state": r"(.*/)?(training_args\.bin|optimizer\.(pt|bin)|scheduler\.pt|rng_.*\.pth|trainer_state\.json)",
    "full-model-weights": r"(.*/)?((pytorch_)?model.*\.(bin|safetensors)|.*\.(gguf|ggml|onnx|h5|tflite|ckpt))",
    "trained-weights-that-PEFT-leaves-out": r"(.*/)?(value_head|v_head|non_lora_(trainables|state_dict)|mm_projector"
    r"|connector|projector|score|classifier|lm_head|embed_tokens|new_embeddings|trainable_params|heads?)"
    r"\.(bin|pth?|ckpt|safetensors)",
    "other-adapter-weights": r"(.*/)?adapter_model\.(bin|pth?|ckpt)|(.*/adapter_model|(.*/)?adapters?)\.safetensors",
}
_BY_NAME = tuple((re.compile(f"(?i){pattern}"), kind) for kind, pattern in _NAMED.items())
_CODE_KEYS = ("auto_map", "custom_pipelines", "_attn_implementation_internal")
"""Keys by which a loader fetches code; the last one did, in transformers 4.56 to 5.2 (CVE-2026-4372)."""
_PICKLED_WEIGHTS = "adapter_model.bin"
_READ_BYTES = 1 << 20
_HUGE_LENGTH = 10**9


def companions(files: dict[str, Content]) -> Iterator[str]:
    """``path: what it is``, a file more than once where it is several things."""
    # Where there are no other weights, a pickle is the adapter's own and not beside it: weights.pickle_files tells it.
    own = None if WEIGHTS_FILE in files else _PICKLED_WEIGHTS
    for path, content in files.items():
        yield from (f"{path}: {kind}" for pattern, kind in _BY_NAME if path != own and pattern.fullmatch(path))
        if content.head.startswith(LFS_POINTER):
            yield f"{path}: git-lfs-pointer"
        if content.size == 0 and path.endswith((".safetensors", ".bin", ".json")):
            yield f"{path}: empty"
        if path.endswith(".json") and path != CONFIG_FILE and content.body is not None and content.size <= _READ_BYTES:
            yield from (f"{path}: {kind}" for kind in _inside(path, content.body))
    if WEIGHTS_FILE in files and _PICKLED_WEIGHTS in files:
        yield f"{_PICKLED_WEIGHTS}: second-weights-beside {WEIGHTS_FILE}"


def _inside(path: str, body: bytes) -> Iterator[str]:
    try:
        document: Any = parse_json(body, where=path, max_bytes=_READ_BYTES)
    except DocumentError:
        yield "not-strict-json"
        return
    if not isinstance(document, dict):
        return
    if document.get("chat_template"):
        yield "chat-template-inside"
    yield from (f"code-by-reference ({key})" for key in _CODE_KEYS if document.get(key))
    length = document.get("model_max_length")
    if isinstance(length, int | float) and length > _HUGE_LENGTH:
        yield "no-length-limit (model_max_length)"


class CompanionsProbe:
    """artifact.companions."""

    id = "companions"
    version = "4"
    terms = ("artifact.companions",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Always observed: names and, of small JSON files, what they hold."""
        yield ok(self.terms[0], tuple(companions(dict(subject.files))), by=ObservedBy.INTAKE)
