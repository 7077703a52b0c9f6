"""Types whose part is one tensor as it is stored, or its difference from a tensor without effect: IA3, MiSS, BEFT."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from peft_assay.fingerprint.configuration import Configuration
from peft_assay.fingerprint.interface import Operation, Part, plain
from peft_assay.fingerprint.tensors import Tensor

MARKS = ("ia3_l", "miss_block", "beft_bias")
SAME_PLACE = {"up_proj": ("down_proj", "inputs"), "o_proj": ("v_proj", "outputs")}
"""IA3's factor of the key acts as one of the other module does, on its inputs or outputs. A gated layer multiplies what
up_proj gives by its gate, and attention mixes positions only: neither mixes channels. (Of o_proj this holds where each
query head has values of its own.)
"""


def parts(module: str, at: Mapping[str, Tensor], _: Configuration) -> Iterator[Part]:
    """Yield IA3's factors less one, else the added tensor; MiSS repeats its block up to the width of the base."""
    if "ia3_l" in at:
        yield plain(module, Operation.MULTIPLY, at["ia3_l"].values() - 1)
    for name in ("miss_block", "beft_bias"):
        if name in at:
            yield plain(module, Operation.ADD, at[name].values())


def in_one_place(grouped: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Return the tensors with IA3's factors of a module where they act in the same way at its counterpart."""
    found = {module: dict(at) for module, at in grouped.items()}
    for module in grouped:
        parent, _, last = module.rpartition(".")
        name, side = SAME_PLACE.get(last, ("", ""))
        if not name or set(found[module]) != {"ia3_l"}:
            continue
        factor = found[module]["ia3_l"]
        acts_on = (-1, 1) if side == "outputs" else (1, -1)
        if factor.raw.shape != factor.raw.reshape(acts_on[::-1]).shape:
            continue  # it acts on the module's other side
        moved = replace(factor, raw=factor.raw.reshape(acts_on))
        there = found.get(f"{parent}.{name}", {})
        if not there:
            found[f"{parent}.{name}"] = {"ia3_l": moved}
        elif set(there) == {"ia3_l"} and there["ia3_l"].shape == moved.shape:
            product = np.asarray(there["ia3_l"].values() * moved.values(), "<f8")
            found[f"{parent}.{name}"] = {"ia3_l": replace(moved, dtype="F64", raw=product, cast=None)}
        else:
            continue
        del found[module]
    return found
