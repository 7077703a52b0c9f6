"""The conversions that PEFT runs while it loads: older layouts of names and tensors, made to fit today's models.

PEFT's own functions run here, on tensors without memory: what `PeftModel.from_pretrained` would load is found by what
it does, not by what this package believes of it (huggingface/peft, `utils/save_and_load.py` and
`utils/transformers_weight_conversion.py`).
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from peft_assay_loading.errors import LoadingError
from peft_assay_loading.names import common_end

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig, PeftModel

Shapes = Mapping[str, tuple[int, ...]]
Tensors = Mapping[str, "torch.Tensor"]
_WRAPPED = ("base_model.model.", "base_model.")
"""What PEFT puts before the names of a base's modules; the longer one first."""


def renamed(base: "torch.nn.Module", config: "PeftConfig", tensors: Tensors) -> dict[str, "torch.Tensor"]:
    """Return `tensors` under the names that `base`'s class maps older ones to, as `peft.load_peft_weights` does.

    Raises LoadingError where PEFT raises, and where two tensors would get one name.
    """
    mapping = {} if config.is_prompt_learning else getattr(base, "_checkpoint_conversion_mapping", {})
    if not mapping:
        return dict(tensors)
    result: dict[str, torch.Tensor] = {}
    for key, tensor in tensors.items():
        prefix = next((prefix for prefix in _WRAPPED if key.startswith(prefix)), None)
        if prefix is None:
            raise LoadingError(f"tensor {key[:100]} does not begin with base_model., as PEFT's names do")
        local = key.removeprefix(prefix)
        for pattern, replacement in mapping.items():
            changed, count = re.subn(pattern, replacement, local)
            if count:
                local = changed
                break
        if prefix + local in result:
            raise LoadingError(f"two tensors would be loaded as {prefix}{local[:100]}")
        result[prefix + local] = tensor
    return result


def read_by_peft(wrapped: "PeftModel", name: str, shapes: Shapes) -> Shapes:
    """Return the shapes that PEFT loads from a file with `shapes` into adapter `name` of `wrapped`.

    Names are those of a file that PEFT saves today. Raises LoadingError where PEFT refuses the file, and where it would
    leave one of its tensors out: then what was examined is not what is loaded.
    """
    import torch
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    config = wrapped.peft_config[name]
    tensors = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    current = _of_this_transformers(wrapped, name, renamed(wrapped.get_base_model(), config, tensors))
    tuner: Any = PEFT_TYPE_TO_TUNER_MAPPING[config.peft_type]
    loaded = tuner._remap_adapter_state_dict_for_load(  # noqa: SLF001 - what set_peft_model_state_dict calls
        model=wrapped, config=config, adapter_name=name, state_dict=dict(current)
    )
    before = {id(tensor) for tensor in current.values()}
    after = {id(tensor) for tensor in loaded.values()}
    result: dict[str, tuple[int, ...]] = {}
    for key, tensor in loaded.items():
        saved = tuner._remove_adapter_name_from_key(key, name)  # noqa: SLF001 - its inverse
        if saved in result:
            raise LoadingError(f"two tensors would be loaded as {saved[:100]}")
        result[saved] = tuple(tensor.shape)
    if after <= before:  # what a type keeps outside torch's tables (SHiRA's indices) is not among the loaded tensors
        result.update({key: tuple(tensor.shape) for key, tensor in current.items() if id(tensor) not in after})
    return result


def _of_this_transformers(wrapped: "PeftModel", name: str, tensors: Tensors) -> dict[str, "torch.Tensor"]:
    """Return `tensors` as PEFT converts them for models whose modules this transformers names or fuses otherwise."""
    import torch
    from peft.utils.transformers_weight_conversion import convert_peft_adapter_state_dict_for_transformers

    def converted(state: Tensors) -> dict[str, "torch.Tensor"]:
        found: dict[str, torch.Tensor] = convert_peft_adapter_state_dict_for_transformers(
            model=wrapped, peft_config=wrapped.peft_config[name], adapter_state_dict=dict(state), adapter_name=name
        )
        return found

    result = converted(tensors)
    kept = {id(tensor) for tensor in result.values()}
    fused = {key: tensor.numel() for key, tensor in tensors.items() if id(tensor) not in kept}
    if fused:
        # Ones in their place are counted afterwards: fusing moves numbers and fills up with zeros.
        one = torch.ones((), dtype=torch.uint8, device="cpu")
        ones = {key: one.expand(tensor.shape) if key in fused else tensor for key, tensor in tensors.items()}
        given = {id(tensor) for tensor in tensors.values()}
        arrived = sum(int(t.sum()) for t in converted(ones).values() if id(t) not in given)
        if arrived != sum(fused.values()):
            raise LoadingError(
                "PEFT would leave out some of the tensors that it fuses: " + ", ".join(sorted(fused)[:3])
            )
    return result


def told(given: Shapes, wanted: Shapes, asked: "PeftConfig", used: "PeftConfig") -> tuple[str, ...]:
    """Return the conversions between a file's tensors and those that PEFT saves today, one line for each kind."""
    gone, new = _patterns(given.keys() - wanted.keys()), _patterns(wanted.keys() - given.keys())
    lines: dict[str, None] = {}
    fewer = len(given) != len(wanted)
    for old in gone:
        if fewer:
            lines[f"{old} is fused with others of its kind"] = None
            continue
        made = next((name for name in new if _ends_alike(old, name)), None)
        lines[f"{old} is read under another name" if made is None else _change(old, made)] = None
    before, after = (set(getattr(config, "target_parameters", None) or ()) for config in (asked, used))
    if after - before:
        modules = asked.target_modules
        named = modules if isinstance(modules, str) else ", ".join(sorted(modules or ()))
        lines[f"target_modules {named}: {', '.join(sorted(after - before))} of fused experts"] = None
    return tuple(lines)


def _patterns(names: set[str]) -> list[str]:
    return sorted({re.sub(r"(?<=\.)\d+(?=\.)", "#", name) for name in names})


def _ends_alike(old: str, new: str) -> bool:
    return old.rsplit("#", 1)[-1] == new.rsplit("#", 1)[-1] and old.count("#") == new.count("#")


def _change(old: str, new: str) -> str:
    """Return how two names differ, without their common end."""
    before, after = old.split("."), new.split(".")
    behind = common_end(before, after)
    return f"{'.'.join(before[:-behind])}.* is read as {'.'.join(after[:-behind])}.*"
