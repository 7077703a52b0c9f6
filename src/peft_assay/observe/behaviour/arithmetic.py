"""An adapter's updates as numbers and offsets in its file: all that computing it without PEFT needs.

Our own strict readers read them here, outside the sandbox: the process that receives them reads neither configuration
nor header, and calls nothing of PEFT. For types and settings whose arithmetic is more than LoRA's, rsLoRA's, DoRA's or
IA3's, NotPlain names the reason.
"""

import re
from collections.abc import Mapping
from typing import Any

from peft_assay.core.artifact import WEIGHTS_FILE
from peft_assay.core.errors import DocumentError
from peft_assay.observe.behaviour.strength import configuration_of, tensors_of
from peft_assay.observe.interface import Unreadable
from peft_assay.observe.static.config import is_inert
from peft_assay.observe.static.delta import scaling
from peft_assay.observe.static.header import Tensor
from peft_assay.observe.static.heads import head_names
from peft_assay.observe.static.reading import Configuration
from peft_assay.observe.static.tables import peft_table

_DTYPES = frozenset({"F64", "F32", "F16", "BF16"})
_NAME = re.compile(
    r"base_model\.model\.(?P<module>.+)\.(?P<part>lora_A|lora_B|lora_magnitude_vector|ia3_l)(?:\.weight)?"
)
_WHOLE = re.compile(r"base_model\.model\.(?P<parameter>.+?\.)(?:base_layer\.)?(?P<last>weight|bias)")
"""A parameter of the base that the file holds in full: an embedding saved beside the adapter, or a head."""
_PARTS: Mapping[str, tuple[frozenset[str], ...]] = {
    "LORA": (frozenset({"lora_A", "lora_B"}), frozenset({"lora_A", "lora_B", "lora_magnitude_vector"})),
    "IA3": (frozenset({"ia3_l"}),),
}
"""The tensors that a module has, by type; for LoRA first without, then with a magnitude (DoRA)."""
_HARMLESS = frozenset(
    {
        "alpha_pattern", "auto_mapping", "base_model_name_or_path", "exclude_modules", "fan_in_fan_out",
        "feedforward_modules", "inference_mode", "init_ia3_weights", "layers_pattern", "layers_to_transform",
        "lora_alpha", "lora_dropout", "peft_type", "peft_version", "r", "rank_pattern", "revision", "target_modules",
        "task_type", "use_dora", "use_rslora",
    }
)  # fmt: skip
"""Fields that are either read here or do not change the results of a loaded adapter."""


class NotPlain(Exception):
    """Why the adapter's arithmetic is not known here, in one line."""


def parts_of(files: Mapping[str, bytes]) -> dict[str, list[dict[str, Any]]]:
    """Return `modules` and `parameters` of an `apply` request.

    Raises NotPlain where the type or a setting is not supported.
    """
    try:
        configuration = _configuration(files)
        tensors = tensors_of(files.get(WEIGHTS_FILE, b""))
        whole = [tensor for tensor in tensors if not _NAME.fullmatch(tensor.name)]
        placed = _placed(tuple(tensor for tensor in tensors if tensor not in whole))
        parts = _PARTS[configuration.peft_type]
        expected = parts[-1 if configuration.get("use_dora") else 0]
        scale = scaling(configuration) if configuration.peft_type == "LORA" else None
        modules = [_module(name, tensors, expected, scale) for name, tensors in placed.items()]
        return {"modules": modules, "parameters": [_parameter(tensor) for tensor in whole]}
    except (Unreadable, DocumentError) as error:
        raise NotPlain(str(error)) from None


def _configuration(files: Mapping[str, bytes]) -> Configuration:
    values = configuration_of(files)
    kind = str(values.get("peft_type"))
    if kind not in _PARTS:
        raise NotPlain(f"its type is {kind[:40]}; those computed are {', '.join(_PARTS)}")
    configuration = Configuration(kind, peft_table().types[kind], values)
    for name in values:
        known = configuration.row.fields.get(name)
        if name == "modules_to_save" and head_names(configuration):
            continue
        inert = is_inert(name, values[name]) if known is None else values[name] in (known.default, None)
        if name not in _HARMLESS and not inert:
            raise NotPlain(f"its configuration sets {name[:80]}")
    return configuration


def _placed(tensors: tuple[Tensor, ...]) -> dict[str, dict[str, Tensor]]:
    placed: dict[str, dict[str, Tensor]] = {}
    for tensor in tensors:
        named = _NAME.fullmatch(tensor.name)
        if named is None or tensor.dtype not in _DTYPES:
            raise _not_plain(tensor)
        placed.setdefault(named["module"], {})[named["part"]] = tensor
    return placed


def _module(name: str, tensors: Mapping[str, Tensor], expected: frozenset[str], scale: Any) -> dict[str, Any]:
    if set(tensors) != expected:
        raise NotPlain(f"{name[:120]} has the tensors {', '.join(sorted(tensors))}")
    rank = tensors["lora_A"].shape[0] if scale is not None else 1
    return {
        "module": name,
        "scale": 1.0 if scale is None else scale(name, rank),
        "tensors": {part: _place(tensor) for part, tensor in sorted(tensors.items())},
    }


def _parameter(tensor: Tensor) -> dict[str, Any]:
    named = _WHOLE.fullmatch(tensor.name)
    if named is None or tensor.dtype not in _DTYPES:
        raise _not_plain(tensor)
    return {"parameter": named["parameter"] + named["last"], "tensor": _place(tensor)}


def _place(tensor: Tensor) -> dict[str, Any]:
    return {"dtype": tensor.dtype, "shape": list(tensor.shape), "begin": tensor.begin, "end": tensor.end}


def _not_plain(tensor: Tensor) -> NotPlain:
    return NotPlain(f"its tensor {tensor.name[:120]} is none of a plain adapter's")
