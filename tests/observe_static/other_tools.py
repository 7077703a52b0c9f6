"""Adapters as tools other than PEFT's own save_pretrained leave them: names and beginnings of files are theirs."""

import json
import pickle
import struct
from collections.abc import Mapping
from typing import Any

from observe_static.static_support import config, f32, lora_tensors, safetensors
from peft_assay.observe.static.kinds import Kind

WEIGHTS = safetensors(lora_tensors())
TORCH = b"PK\x03\x04" + bytes(26) + b"archive/data.pkl" + bytes(64)
PICKLED = pickle.dumps({"a": 1})


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _gguf(kind: str) -> bytes:
    """A header with two of llama.cpp's keys; 8 is the number of text among GGUF's types."""
    keys = {"general.architecture": "llama", "general.type": kind}
    pairs = b"".join(_text(key) + struct.pack("<I", 8) + _text(value) for key, value in keys.items())
    return b"GGUF" + struct.pack("<IQQ", 3, 1, len(keys)) + pairs + bytes(64)


def _half(*names: str) -> bytes:
    return safetensors({name: ("F16", [4, 8], b"\0\x3c" * 32) for name in names})


PEFT = _json(config(r=2))
TOOLS: Mapping[str, tuple[Kind, dict[str, bytes]]] = {
    "Axolotl": (
        Kind.PEFT_ADAPTER,
        {
            "adapter_config.json": PEFT,
            "adapter_model.safetensors": WEIGHTS,
            "README.md": b"---\nlibrary_name: peft\ntags:\n- axolotl\nmodel-index:\n- name: out\n  results: []\n---\n",
            "config.json": _json({"architectures": ["LlamaForCausalLM"]}),
            "training_args.bin": PICKLED,
            "checkpoint-10/adapter_model.safetensors": WEIGHTS,
        },
    ),
    "LLaMA-Factory": (
        Kind.PEFT_ADAPTER,
        {
            "adapter_config.json": _json(config(r=2, base_model_name_or_path="/root/autodl-tmp/Qwen2-7B")),
            "adapter_model.safetensors": WEIGHTS,
            "README.md": b"---\nlicense: other\nbase_model: /root/autodl-tmp/Qwen2-7B\n---\n",
            "trainer_log.jsonl": b"{}\n",
            "training_loss.png": b"\x89PNG",
        },
    ),
    "Unsloth": (
        Kind.PEFT_ADAPTER,
        {"adapter_config.json": _json({**config(r=2), "unsloth_fixed": True}), "adapter_model.safetensors": WEIGHTS},
    ),
    "PEFT 0.3": (
        Kind.PEFT_ADAPTER,
        {
            "adapter_config.json": _json({"peft_type": "LORA", "r": 8, "merge_weights": False, "enable_lora": None}),
            "adapter_model.bin": TORCH,
        },
    ),
    "TRL with a value head": (
        Kind.PEFT_ADAPTER,
        {
            "adapter_config.json": PEFT,
            "adapter_model.safetensors": safetensors(
                {**lora_tensors(), "v_head.summary.weight": ("F32", [1, 4], f32(1, 1, 1, 1))}
            ),
            "pytorch_model.bin": PICKLED,
        },
    ),
    "sentence-transformers": (
        Kind.PEFT_ADAPTER,
        {
            "adapter_config.json": PEFT,
            "adapter_model.safetensors": WEIGHTS,
            "modules.json": b"[]",
            "1_Pooling/config.json": b"{}",
        },
    ),
    "shards": (
        Kind.PEFT_SHARDED,
        {
            "adapter_config.json": PEFT,
            "adapter_model-00001-of-00002.safetensors": WEIGHTS,
            "adapter_model-00002-of-00002.safetensors": WEIGHTS,
            "adapter_model.safetensors.index.json": b'{"weight_map": {}}',
        },
    ),
    "a newer PEFT": (
        Kind.PEFT_UNKNOWN_TYPE,
        {"adapter_config.json": _json({"peft_type": "NEXT"}), "adapter_model.safetensors": WEIGHTS},
    ),
    "LeRobot": (
        Kind.FOREIGN_CONFIG,
        {"adapter_config.json": b'{"base_model": "lerobot/smolvla_base"}', "adapter_model.bin": TORCH},
    ),
    "an error page": (
        Kind.BROKEN_CONFIG,
        {"adapter_config.json": b"<!DOCTYPE html>", "adapter_model.safetensors": WEIGHTS},
    ),
    "weights alone": (Kind.PEFT_WEIGHTS_ONLY, {"adapter_model.safetensors": WEIGHTS}),
    "a pickle alone": (Kind.PICKLE, {"adapter_model.bin": TORCH}),
    "an unpacked torch file": (Kind.PICKLE, {"data.pkl": PICKLED, "version": b"3"}),
    "kohya-ss": (
        Kind.IMAGE_LORA,
        {"style.safetensors": _half("lora_unet_down_blocks_0_attn1_to_q.lora_down.weight"), "README.md": b"---\n---\n"},
    ),
    "LyCORIS": (Kind.IMAGE_LORA, {"style.safetensors": _half("lycoris_block_0_attn.lokr_w1")}),
    "LyCORIS on a unet": (Kind.IMAGE_LORA, {"style.safetensors": _half("lycoris_down_blocks_0_attn1.oft_blocks")}),
    **{
        f"LyCORIS on a language model ({part})": (
            kind,
            {"lycoris.safetensors": _half(f"lycoris_{module}.{part}", f"lycoris_{module}.alpha")},
        )
        for module, part, kind in (
            ("model_layers_0_self_attn_q_proj", "lora_down.weight", Kind.LYCORIS),
            ("model_language_model_layers_0_mlp_up_proj", "hada_w1_a", Kind.LYCORIS),
            ("transformer_h_0_attn_c_attn", "lokr_w1", Kind.LYCORIS),
            ("roberta_encoder_layer_0_attention_self_query", "lora_up.weight", Kind.LYCORIS),
            ("model_layers_0_self_attn_q_proj", "diff", Kind.LYCORIS_UNHELD),
            ("model_layers_0_self_attn_q_proj", "oft_blocks", Kind.LYCORIS_UNHELD),
            ("lm_head", "dora_scale", Kind.LYCORIS_UNHELD),
        )
    },
    "PEFT 0.15's OFT": (
        Kind.PEFT_OLD_OFT,
        {
            "adapter_config.json": _json(config("OFT")),
            "adapter_model.safetensors": _half("base_model.model.q_proj.oft_r", "base_model.model.q_proj.oft_s"),
        },
    ),
    "OFT of today": (
        Kind.PEFT_ADAPTER,
        {
            "adapter_config.json": _json(config("OFT")),
            "adapter_model.safetensors": _half("base_model.model.q_proj.oft_R.weight"),
        },
    ),
    "PEFT 0.18's Bone": (
        Kind.PEFT_BONE,
        {
            "adapter_config.json": _json({"peft_type": "BONE", "r": 64}),
            "adapter_model.safetensors": _half("base_model.model.q_proj.bone_block"),
        },
    ),
    "torchtune for PEFT": (
        Kind.PEFT_UNTYPED,
        {
            "adapter_config.json": _json({"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}),
            "adapter_model.safetensors": WEIGHTS,
        },
    ),
    "a Windows editor": (
        Kind.MARKED_CONFIG,
        {"adapter_config.json": b"\xef\xbb\xbf" + PEFT, "adapter_model.safetensors": WEIGHTS},
    ),
    "AdapterHub's LoRA": (
        Kind.ADAPTER_HUB_LORA,
        {
            "adapter_config.json": _json({"config": {"architecture": "lora", "r": 8}, "model_class": "BertModel"}),
            "pytorch_adapter.bin": TORCH,
        },
    ),
    "diffusers": (Kind.DIFFUSERS_LORA, {"pytorch_lora_weights.safetensors": _half("unet.to_q.lora_A.weight")}),
    "MLX": (
        Kind.MLX_ADAPTER,
        {
            "adapter_config.json": _json({"fine_tune_type": "lora", "lora_parameters": {"rank": 8}, "num_layers": 16}),
            "adapters.safetensors": _half("model.layers.0.self_attn.q_proj.lora_a"),
        },
    ),
    "old MLX": (Kind.MLX_ADAPTER, {"adapters.npz": TORCH}),
    "llama.cpp": (Kind.GGUF_ADAPTER, {"lora-f16.gguf": _gguf("adapter")}),
    "older llama.cpp": (Kind.GGUF_ADAPTER, {"ggml-adapter-model.bin": b"algg" + bytes(64)}),
    "a model of llama.cpp": (Kind.GGUF_MODEL, {"model-q4.gguf": _gguf("model")}),
    "AdapterHub": (
        Kind.ADAPTER_HUB,
        {
            "adapter_config.json": _json({"config": {"reduction_factor": 16}, "model_class": "BertAdapterModel"}),
            "pytorch_adapter.bin": TORCH,
        },
    ),
    "torchtune": (Kind.TRAINER_CHECKPOINT, {"adapter_0.pt": TORCH}),
    "LitGPT": (Kind.TRAINER_CHECKPOINT, {"lit_model.pth.lora": TORCH}),
    "a merged model": (
        Kind.FULL_MODEL,
        {
            "config.json": b"{}",
            "model-00001-of-00002.safetensors": WEIGHTS,
            "model-00002-of-00002.safetensors": WEIGHTS,
            "model.safetensors.index.json": b"{}",
        },
    ),
    "checkpoints": (Kind.TRAINER_FOLDER, {"checkpoint-5/adapter_config.json": PEFT}),
}
"""Tool, what its folder is, and the files in it."""
