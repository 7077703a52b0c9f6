"""Names of tensors, as PEFT writes them: the module of the base that a tensor belongs to, and the tensor's
role in it.
"""

import re

from peft_assay.fingerprint.interface import Uncomputable
from peft_assay.fingerprint.tensors import Tensor

PREFIXES = ("base_model.model.", "base_model.")
_WHAT = re.compile(
    r"(?P<module>.+?)\.(?P<what>lora_[ABE]|lora_embedding_[AB]|lora_magnitude_vector|hada_[wt][12](?:_[ab])?|"
    r"lokr_[wt][12](?:_[ab])?|vera_lambda_[bd]|ia3_l|oft_R|oft_r|boft_R|boft_s|hra_u|road_theta|road_alpha|beft_bias|"
    r"gralora_[AB](?:_general)?|miss_block|delora_[ABlambdw]\w*|vblora_logits_[AB])"
    r"(?:\.(?!weight$|bias$)\w+)?(?:\.(?P<tail>weight|bias))?"
)
SHARED = {"vera_A", "vera_B", "vblora_vector_bank"}
"""Tensors of the whole adapter, which every module uses."""


def without_prefix(name: str) -> str:
    """Return `name` as the base has it."""
    for prefix in PREFIXES:
        if name.startswith(prefix):
            return name.removeprefix(prefix)
    return name


def sort_tensors(tensors: tuple[Tensor, ...]) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    """Return (module -> role -> tensor, for the roles that a type has in each module; path -> every other tensor).

    Raises Uncomputable where two names mean the same tensor: loaders differ in which of them they use.
    """
    grouped: dict[str, dict[str, Tensor]] = {}
    others: dict[str, Tensor] = {}
    for tensor in tensors:
        path = without_prefix(tensor.name)
        found = _WHAT.fullmatch(path)
        at = others if found is None else grouped.setdefault(found["module"], {})
        key = path if found is None else found["what"] + (".bias" if found["tail"] == "bias" else "")
        if key in at:
            raise Uncomputable(f"it and {at[key].name[:200]!r} are one tensor by name", where=tensor.name[:200])
        at[key] = tensor
    return grouped, others
