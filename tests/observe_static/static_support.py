"""Builds subjects: an ordinary LoRA that every probe is content with, and one change at a time."""

import json
import struct
from collections.abc import Mapping
from typing import Any

from peft_assay.core.artifact import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE, Artifact, File
from peft_assay.core.content import content_of
from peft_assay.core.context import Engine
from peft_assay.core.digest import sha256
from peft_assay.core.observation import Observation
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.interface import StaticContext, StaticSubject
from peft_assay.observe.static.tables import peft_table
from peft_assay.observe.static.weights import sighting_of

MODULE = "base_model.model.model.layers.0.self_attn.q_proj"
CARD = "---\nlicense: apache-2.0\ndatasets:\n- zoo/dialogues\n---\n\n# An adapter\n"
CONTEXT = StaticContext(
    engine=Engine("peft", "float32", 32),
    datasets={"zoo/dialogues": "cc-by-4.0", "zoo/scrape": "cc-by-nc-4.0", "zoo/odd": "other"},
    base_licence="apache-2.0",
)


def f32(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def safetensors(tensors: Mapping[str, tuple[str, list[int], bytes]], metadata: dict[str, Any] | None = None) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata is not None else {}
    at = 0
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(content)]}
        at += len(content)
    return raw(json.dumps(header), b"".join(content for _, _, content in tensors.values()))


def raw(header: str, body: bytes) -> bytes:
    encoded = header.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(encoded)) + encoded + body


def lora_tensors() -> dict[str, tuple[str, list[int], bytes]]:
    return {
        f"{MODULE}.lora_A.weight": ("F32", [2, 4], f32(*[0.5] * 8)),
        f"{MODULE}.lora_B.weight": ("F32", [4, 2], f32(*[0.25] * 8)),
    }


def config(peft_type: str = "LORA", **fields: Any) -> dict[str, Any]:
    defaults = {name: row.default for name, row in peft_table().types[peft_type].fields.items()}
    ordinary = {"peft_type": peft_type, "task_type": "CAUSAL_LM", "base_model_name_or_path": "zoo/base"}
    target = peft_table().types[peft_type].fields.get("target_modules")
    if target is not None and any(not isinstance(form, str) and form.elements for form in target.forms):
        ordinary["target_modules"] = ["q_proj"]  # type: ignore[assignment]
    return {**defaults, **ordinary, **fields}


def subject(
    *,
    configuration: Any = None,
    weights: bytes | None = None,
    card: str | None = CARD,
    files: Mapping[str, bytes] | None = None,
    context: StaticContext = CONTEXT,
    without: tuple[str, ...] = (),
) -> StaticSubject:
    contents = {
        CONFIG_FILE: json.dumps(config() if configuration is None else configuration).encode(),
        WEIGHTS_FILE: safetensors(lora_tensors()) if weights is None else weights,
        **({CARD_FILE: card.encode()} if card is not None else {}),
        **(files or {}),
    }
    ordered = {path: contents[path] for path in sorted(contents) if path not in without}
    manifest = tuple(File(path, len(content), sha256(content)) for path, content in ordered.items())
    contents_kept = {path: content_of(content) for path, content in ordered.items()}
    seen = {path: sighting_of(content) for path, content in ordered.items() if path == WEIGHTS_FILE}
    return StaticSubject(Artifact(manifest), contents_kept, context, seen)


def observed(term: str, **arguments: Any) -> Observation:
    return next(o for o in observe_static(subject(**arguments)) if o.name == term)
