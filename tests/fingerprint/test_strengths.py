"""Strengths: the same for all rewritings of the factors, and kept only where they are finite."""

import numpy as np
import pytest

from fingerprint import families
from fingerprint import rewritings as make
from peft_assay.fingerprint.interface import Uncomputable
from peft_assay.fingerprint.strengths import read_strengths, strengths_of

ORIGINAL = make.lora()
REWRITTEN = {
    **{name: (ORIGINAL, files) for name, files in make.rewritings(ORIGINAL).items()},
    **{f"{dtype}": (ORIGINAL, make.rewritten(ORIGINAL, make.tensors_of(ORIGINAL), dtype)) for dtype in ("F16", "BF16")},
    # Other families are so small here that bfloat16 moves a strength by more than rounding explains.
    **{name: pair for name, pair in families.twins().items() if not name.endswith(" in bfloat16")},
}


@pytest.mark.parametrize("name", sorted(REWRITTEN))
def test_a_rewriting_has_the_same_strengths(name):
    one, other = map(strengths_of, REWRITTEN[name])
    assert one.like(other)
    assert other.like(one)
    assert read_strengths(one.parts, one.text(), where="-") == one


@pytest.mark.parametrize("other", [make.lora(seed=1), make.lora(modules=2)], ids=["other numbers", "fewer modules"])
def test_another_adapter_has_others(other):
    assert not strengths_of(ORIGINAL).like(strengths_of(other))


def test_numbers_too_large_to_be_kept_are_not_kept():
    tensors = {name: np.float64(1e25) * value for name, value in make.tensors_of(ORIGINAL).items()}
    with pytest.raises(Uncomputable, match="too large"):
        strengths_of(make.rewritten(ORIGINAL, tensors, "F64"))
