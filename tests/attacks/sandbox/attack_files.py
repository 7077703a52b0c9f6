"""Adapters whose files lie to whoever loads them (group 15): the real harness meets them, behind the real walls."""

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

Files = dict[str, bytes]
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def lying(adapter: Mapping[str, bytes]) -> dict[str, Files]:
    """Each lie, told with the files of a well-behaved adapter."""
    return {name: tell(dict(adapter)) for name, tell in LIES.items()}


def _configured(**fields: Any) -> Callable[[Files], Files]:
    def tell(files: Files) -> Files:
        return files | {CONFIG: json.dumps(json.loads(files[CONFIG]) | fields).encode()}

    return tell


def _weights(change: Callable[[bytes], bytes]) -> Callable[[Files], Files]:
    def tell(files: Files) -> Files:
        return files | {WEIGHTS: change(files[WEIGHTS])}

    return tell


def _header(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Files], Files]:
    def rewrite(content: bytes) -> bytes:
        length = struct.unpack_from("<Q", content)[0]
        header = json.dumps(change(json.loads(content[8 : 8 + length]))).encode()
        return struct.pack("<Q", len(header)) + header + content[8 + length :]

    return _weights(rewrite)


def _all_at(offsets: list[int]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(header: dict[str, Any]) -> dict[str, Any]:
        return {k: v if k == "__metadata__" else v | {"data_offsets": offsets} for k, v in header.items()}

    return change


def _stretched(header: dict[str, Any]) -> dict[str, Any]:
    return {k: v if k == "__metadata__" else v | {"shape": [1 << 31, 1 << 31]} for k, v in header.items()}


LIES: Mapping[str, Callable[[Files], Files]] = {
    "header-longer-than-file": _weights(lambda content: struct.pack("<Q", 1 << 62) + content[8:]),
    "header-cut-off": _weights(lambda content: content[:64]),
    "overlapping-offsets": _header(_all_at([0, 1024])),
    "offsets-beyond-end": _header(_all_at([1 << 40, 1 << 41])),
    "shapes-that-overflow": _header(_stretched),
    "configuration-of-brackets": lambda files: files | {CONFIG: b"[" * 200_000},
    "class-to-import": _configured(auto_mapping={"base_model_class": "system", "parent_library": "os"}),
    "rank-of-a-billion": _configured(r=10**9),
    "rank-pattern-of-a-billion": _configured(rank_pattern={".*": 10**9}),
    "base-rewritten": _configured(init_lora_weights="pissa"),
    "pickle-as-safetensors": _weights(lambda _: b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00."),
}
