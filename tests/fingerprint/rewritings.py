"""Twins of an adapter: what does the same and is written otherwise. numpy only; a file here is path -> bytes."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from peft_assay.fingerprint.tensors import read_tensors

Files = dict[str, bytes]
Tensors = dict[str, np.ndarray]
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def to_bits(values: Any) -> Any:
    """bfloat16 bits of float32 numbers, rounded half to even."""
    bits = np.asarray(values, "<f4").view("<u4")
    return ((bits + (np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1)))) >> np.uint32(16)).astype("<u2")


def weights(tensors: Mapping[str, Any], dtype: str = "F32", metadata: dict[str, str] | None = None) -> bytes:
    """A safetensors file with `tensors` in this order, all of one dtype."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    bodies, at = [], 0
    for name, values in tensors.items():
        body = (to_bits(values) if dtype == "BF16" else np.asarray(values, NUMPY[dtype])).tobytes()
        header[name] = {"dtype": dtype, "shape": list(np.shape(values)), "data_offsets": [at, at + len(body)]}
        bodies.append(body)
        at += len(body)
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + b"".join(bodies)


def adapter(tensors: Mapping[str, Any], *, dtype: str = "F32", **config: Any) -> Files:
    """An adapter's two files."""
    return {CONFIG: json.dumps(config).encode(), WEIGHTS: weights(tensors, dtype)}


def lora(seed: int = 0, *, rank: int = 4, size: int = 32, modules: int = 3, **config: Any) -> Files:
    """An ordinary LoRA of random numbers."""
    rng, tensors = np.random.default_rng(seed), {}
    for number in range(modules):
        at = f"base_model.model.model.layers.{number}.self_attn.q_proj"
        tensors[f"{at}.lora_A.weight"] = rng.normal(size=(rank, size)).astype("<f4")
        tensors[f"{at}.lora_B.weight"] = rng.normal(size=(size, rank)).astype("<f4") / 8
    return adapter(tensors, peft_type="LORA", r=rank, lora_alpha=2 * rank, **config)


def tensors_of(files: Mapping[str, bytes]) -> Tensors:
    return {tensor.name: tensor.values() for tensor in read_tensors(files[WEIGHTS])}


def config_of(files: Mapping[str, bytes]) -> dict[str, Any]:
    return json.loads(files[CONFIG])


def rewritten(files: Mapping[str, bytes], tensors: Mapping[str, Any], dtype: str = "F32", **config: Any) -> Files:
    """`files` with other tensors, and some other fields of the configuration."""
    return {**files, CONFIG: json.dumps({**config_of(files), **config}).encode(), WEIGHTS: weights(tensors, dtype)}


def each_pair(files: Mapping[str, bytes], change: Callable[[Any, Any, Any], tuple[Any, Any]], **config: Any) -> Files:
    """`files` with (B, A) of every module replaced by what `change(B, A, rng)` gives."""
    found, rng = tensors_of(files), np.random.default_rng(5)
    for name in list(found):
        if ".lora_A." in name:
            up = name.replace(".lora_A.", ".lora_B.")
            found[up], found[name] = change(found[up], found[name], rng)
    return rewritten(files, found, **config)


def rotated(b: Any, a: Any, rng: Any) -> tuple[Any, Any]:
    turn, _ = np.linalg.qr(rng.normal(size=(len(a), len(a))))
    return b @ turn.T, turn @ a


def mixed(b: Any, a: Any, rng: Any) -> tuple[Any, Any]:
    """A -> R A with an R of condition 1000."""
    one, _ = np.linalg.qr(rng.normal(size=(len(a), len(a))))
    two, _ = np.linalg.qr(rng.normal(size=(len(a), len(a))))
    r = one @ np.diag(np.logspace(0, 3, len(a))) @ two
    return b @ np.linalg.inv(r), r @ a


def permuted(b: Any, a: Any, rng: Any) -> tuple[Any, Any]:
    order = rng.permutation(len(a))
    return b[:, order], a[order]


def padded(b: Any, a: Any, _: Any) -> tuple[Any, Any]:
    """Twice the rank, half of it zero; its alpha doubles with it."""
    return np.hstack([b, 0 * b]), np.vstack([a, a])


def doubled(b: Any, a: Any, _: Any) -> tuple[Any, Any]:
    """Twice the rank, each direction in two halves."""
    return np.hstack([b, b]), np.vstack([a, a]) / 2


def extracted(b: Any, a: Any, _: Any) -> tuple[Any, Any]:
    """Singular vectors of the update, as a tool writes that extracts a LoRA from it."""
    u, s, v = np.linalg.svd(b @ a, full_matrices=False)
    return u[:, : len(a)] * np.sqrt(s[: len(a)]), np.sqrt(s[: len(a), None]) * v[: len(a)]


def rewritings(files: Mapping[str, bytes]) -> dict[str, Files]:
    """Exact rewritings of a LoRA, by name: all do what `files` do, up to the rounding of float32."""
    config = config_of(files)
    rank, alpha, plain = config["r"], config["lora_alpha"], tensors_of(files)
    down = ".lora_A."
    return {
        "readme": {**files, "README.md": b"another card\n"},
        "config field": rewritten(files, plain, lora_dropout=0.3, inference_mode=False),
        "metadata": {**files, WEIGHTS: weights(plain, metadata={"format": "np"})},
        "order": rewritten(files, dict(reversed(plain.items()))),
        "stored in float64": rewritten(files, plain, "F64"),
        "alpha doubled, B halved": each_pair(files, lambda b, a, _: (b / 2, a), lora_alpha=2 * alpha),
        "alpha tripled, B by three": each_pair(files, lambda b, a, _: (b / 3, a), lora_alpha=3 * alpha),
        "alpha in a pattern": each_pair(
            files, lambda b, a, _: (b / 2, a), alpha_pattern={".*": 2 * alpha}, lora_alpha=1
        ),
        "scaled by 256": each_pair(files, lambda b, a, _: (b / 256, a * 256)),
        "scaled by 3": each_pair(files, lambda b, a, _: (b / 3, a * 3)),
        "signs": each_pair(files, lambda b, a, _: (-b, -a)),
        "permuted": each_pair(files, permuted),
        "rotated": each_pair(files, rotated),
        "mixed": each_pair(files, mixed),
        "padded": each_pair(files, padded, r=2 * rank, lora_alpha=2 * alpha),
        "rank doubled": each_pair(files, doubled, r=2 * rank, lora_alpha=2 * alpha),
        "extracted": each_pair(files, extracted),
        "rank-stabilised": each_pair(files, lambda b, a, _: (b / math.sqrt(rank), a), use_rslora=True),
        "without prefix": rewritten(files, {name.removeprefix("base_model.model."): v for name, v in plain.items()}),
        "inert module": rewritten(
            files,
            {**plain, f"base_model.model.model.layers.9.x{down}weight": plain[next(iter(plain))],
             "base_model.model.model.layers.9.x.lora_B.weight": np.zeros((7, rank))},
        ),
    }  # fmt: skip
