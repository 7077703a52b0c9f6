"""delta.*: what the Gram matrices say is what forming the update would have said."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe_static.static_support import MODULE, config, observed, safetensors, subject
from peft_assay.core.context import Engine
from peft_assay.core.observation import Status
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.interface import BaseFacts, StaticContext
from peft_assay.observe.static.spectrum import to_bfloat16

CODES = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}


def _file(a, b, dtype="F32", module=MODULE):
    return safetensors(
        {
            f"{module}.lora_A.weight": (dtype, list(a.shape), a.astype(CODES[dtype]).tobytes()),
            f"{module}.lora_B.weight": (dtype, list(b.shape), b.astype(CODES[dtype]).tobytes()),
        }
    )


def _observed(weights, dtype="float32", base_norms=None, **fields):
    context = StaticContext(engine=Engine("peft", dtype, 64), base=BaseFacts(base_norms) if base_norms else None)
    found = observe_static(subject(weights=weights, configuration=config(**fields), context=context))
    return {o.name.removeprefix("delta."): o for o in found if o.name.startswith("delta.")}


@settings(max_examples=60, deadline=None)
@given(
    rank=st.integers(1, 6),
    sizes=st.tuples(st.integers(6, 30), st.integers(6, 30)),
    seed=st.integers(0, 2**32 - 1),
    alpha=st.integers(1, 64),
    root=st.booleans(),
    dtype=st.sampled_from(["F32", "F16", "F64"]),
)
def test_norm_share_and_effective_rank_are_those_of_the_update(rank, sizes, seed, alpha, root, dtype):
    random = np.random.default_rng(seed)
    a = random.normal(size=(rank, sizes[0])).astype(CODES[dtype])
    b = random.normal(size=(sizes[1], rank)).astype(CODES[dtype])
    scale = alpha / (math.sqrt(rank) if root else rank)
    update = scale * b.astype(float) @ a.astype(float)
    squares = np.linalg.svd(update, compute_uv=False)[:rank] ** 2
    shares = squares / squares.sum()
    seen = _observed(_file(a, b, dtype), r=rank, lora_alpha=alpha, use_rslora=root)
    assert seen["largest_norm"].value == pytest.approx(np.linalg.norm(update), rel=1e-4)
    assert seen["spectral_share"].value == pytest.approx(shares.max(), rel=1e-3)
    assert seen["effective_rank"].value == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-2)
    assert seen["zero_modules"].value == ()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.sampled_from([1.0, 1e-3, 1e-6, 3e-8, 1e3]),
    dtype=st.sampled_from(["float16", "bfloat16"]),
)
def test_a_cast_changes_at_most_what_is_said(seed, size, dtype):
    random = np.random.default_rng(seed)
    a, b = (random.normal(size=shape).astype("<f4") * np.float32(size) for shape in ((3, 9), (7, 3)))
    cast = to_bfloat16 if dtype == "bfloat16" else lambda x: x.astype(np.float16).astype(np.float32)

    def wide(x):
        return x.astype(float)

    change = np.linalg.norm(wide(b) @ wide(a) - wide(cast(b)) @ wide(cast(a))) / np.linalg.norm(wide(b) @ wide(a))
    said = _observed(_file(a, b), dtype, r=3)["cast_change"]
    assert said.value >= change * (1 - 1e-3)
    if size >= 1e-3:
        assert said.value < 0.1


def test_values_that_vanish_in_the_serving_dtype_are_seen():
    tiny = np.full((2, 4), 1e-9)
    assert _observed(_file(tiny, np.ones((4, 2))), "float16", r=2)["cast_change"].value >= 1
    assert _observed(_file(tiny, np.ones((4, 2))), "float32", r=2)["cast_change"].value == 0


def test_bfloat16_rounds_as_torch_does():
    torch = pytest.importorskip("torch")
    bits = np.random.default_rng(3).integers(0, 2**32, 100_000, dtype=np.uint32)
    single = bits.view(np.float32)
    expected = torch.from_numpy(single.copy()).to(torch.bfloat16).to(torch.float32).numpy()
    np.testing.assert_array_equal(to_bfloat16(single), expected)


def test_an_update_of_zero_is_named():
    seen = _observed(_file(np.ones((2, 4)), np.zeros((4, 2))), r=2)
    assert seen["zero_modules"].value == (MODULE,)
    assert seen["largest_norm"].value == 0


def test_one_direction_far_larger_than_the_base():
    a, b = np.zeros((2, 4)), np.zeros((4, 2))
    a[0, 0], b[1, 0] = 300.0, 1.0
    name = MODULE.removeprefix("base_model.model.") + ".weight"
    seen = _observed(_file(a, b), r=2, lora_alpha=2, base_norms={name: 2.0})
    assert (seen["spectral_share"].value, seen["effective_rank"].value) == (1.0, 1.0)
    assert (seen["relative_norm"].value, seen["relative_norm"].reason) == (150.0, MODULE)
    elsewhere = _observed(_file(a, b), r=2, base_norms={"other.weight": 1.0})
    assert elsewhere["relative_norm"].status is Status.FAILED
    assert elsewhere["largest_norm"].status is Status.OK


def test_the_pattern_s_alpha_is_the_one_that_counts():
    file = _file(np.ones((2, 4)), np.ones((4, 2)))
    plain = _observed(file, r=2, lora_alpha=2)["largest_norm"].value
    for key, factor in (("q_proj", 50), (r"layers\.0\..*", 50), ("k_proj", 1), ("0.self_attn.q_proj", 50)):
        assert _observed(file, r=2, lora_alpha=2, alpha_pattern={key: 100})["largest_norm"].value == pytest.approx(
            plain * factor
        ), key
    assert _observed(file, r=2, alpha_pattern={"(?=x)q": 4})["largest_norm"].status is Status.FAILED
    assert _observed(file, r=2, lora_alpha="2")["largest_norm"].status is Status.FAILED


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_has_no_finite_product_fails(value):
    assert _observed(_file(np.full((2, 4), value), np.ones((4, 2))), r=2)["largest_norm"].status is Status.FAILED


def test_half_a_pair_fails_and_other_types_do_not_apply():
    half = safetensors({f"{MODULE}.lora_A.weight": ("F32", [1, 2], np.ones(2, "<f4").tobytes())})
    assert "factors is missing" in str(_observed(half)["largest_norm"].reason)
    assert observed("delta.largest_norm", configuration=config("IA3")).status is Status.NOT_APPLICABLE
