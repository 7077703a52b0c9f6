"""Types whose part is one tensor as it is stored, or its difference from a tensor without effect: IA3, MiSS, BEFT."""

from collections.abc import Iterator, Mapping

from peft_assay.fingerprint.configuration import Configuration
from peft_assay.fingerprint.interface import Operation, Part, plain
from peft_assay.fingerprint.tensors import Tensor

MARKS = ("ia3_l", "miss_block", "beft_bias")


def parts(module: str, at: Mapping[str, Tensor], _: Configuration) -> Iterator[Part]:
    """Yield IA3's factors less one, else the added tensor; MiSS repeats its block up to the width of the base."""
    if "ia3_l" in at:
        yield plain(module, Operation.MULTIPLY, at["ia3_l"].values() - 1)
    for name in ("miss_block", "beft_bias"):
        if name in at:
            yield plain(module, Operation.ADD, at[name].values())
