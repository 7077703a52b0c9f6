"""The function's digest: what does not count, what does, and what cannot be computed."""

import json

import numpy as np
import pytest

from fingerprint import rewritings as make
from peft_assay.fingerprint.compare import judge
from peft_assay.fingerprint.digest import function_digest
from peft_assay.fingerprint.fingerprint import take
from peft_assay.fingerprint.interface import Uncomputable, Word
from peft_assay.fingerprint.sketch import prints_of
from peft_assay.fingerprint.tensors import read_tensors

ORIGINAL = make.lora()
TWINS = make.rewritings(ORIGINAL)
ROUNDED = {"alpha tripled, B by three", "scaled by 3", "rotated", "mixed", "rank doubled", "extracted"}
"""Rewritings whose numbers are rounded anew: only the fingerprint sees that they are the same."""


@pytest.mark.parametrize("name", sorted(TWINS.keys() - ROUNDED))
def test_what_changes_no_number_changes_no_digest(name):
    assert function_digest(TWINS[name]) == function_digest(ORIGINAL)


@pytest.mark.parametrize("name", sorted(ROUNDED))
def test_what_is_rounded_anew_changes_the_digest(name):
    assert function_digest(TWINS[name]) != function_digest(ORIGINAL)


@pytest.mark.parametrize(
    "other",
    [
        make.lora(seed=1),
        make.rewritten(ORIGINAL, make.tensors_of(ORIGINAL), lora_alpha=9),
        make.rewritten(ORIGINAL, make.tensors_of(ORIGINAL), use_rslora=True),
        make.rewritten(ORIGINAL, {n.replace("q_proj", "v_proj"): v for n, v in make.tensors_of(ORIGINAL).items()}),
        make.lora(modules=2),
    ],
    ids=["other numbers", "other alpha", "rank-stabilised", "other modules", "fewer modules"],
)
def test_what_changes_the_function_changes_the_digest(other):
    assert function_digest(other) != function_digest(ORIGINAL)


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_the_dtype_does_not_count_where_the_numbers_are_equal(dtype):
    narrow = make.rewritten(ORIGINAL, make.tensors_of(ORIGINAL), dtype)
    wide = make.rewritten(ORIGINAL, make.tensors_of(narrow), "F64")
    assert function_digest(wide) == function_digest(narrow) != function_digest(ORIGINAL)


def test_tensors_that_the_configuration_says_are_unused_do_not_count():
    magnitudes = {"base_model.model.model.layers.0.self_attn.q_proj.lora_magnitude_vector": np.ones(32)}
    twin = make.rewritten(ORIGINAL, {**make.tensors_of(ORIGINAL), **magnitudes})
    assert function_digest(twin) == function_digest(ORIGINAL)
    weighed = make.rewritten(ORIGINAL, {**make.tensors_of(ORIGINAL), **magnitudes}, use_dora=True)
    assert function_digest(weighed) != function_digest(ORIGINAL)


Q = "base_model.model.q"
BROKEN = {
    "no configuration": {make.WEIGHTS: ORIGINAL[make.WEIGHTS]},
    "configuration twice": {**ORIGINAL, make.CONFIG: b'{"r": 4, "r": 4}'},
    "configuration is a list": {**ORIGINAL, make.CONFIG: b"[]"},
    "no weights": {make.CONFIG: ORIGINAL[make.CONFIG]},
    "weights end early": {**ORIGINAL, make.WEIGHTS: ORIGINAL[make.WEIGHTS][:-1]},
    "no header": {**ORIGINAL, make.WEIGHTS: bytes(8)},
    "header is a list": {**ORIGINAL, make.WEIGHTS: (2).to_bytes(8, "little") + b"[]"},
    "header is no JSON": {**ORIGINAL, make.WEIGHTS: (2).to_bytes(8, "little") + b"{,"},
    "dtype unknown": {**ORIGINAL, make.WEIGHTS: ORIGINAL[make.WEIGHTS].replace(b'"F32"', b'"C64"', 1)},
    "shape": {**ORIGINAL, make.WEIGHTS: ORIGINAL[make.WEIGHTS].replace(b"[4, 32]", b"[5, 32]", 1)},
    "one tensor twice": make.rewritten(
        ORIGINAL, {**make.tensors_of(ORIGINAL), "model.layers.0.self_attn.q_proj.lora_A.weight": np.ones((4, 32))}
    ),
    "two types in a module": make.adapter(
        {f"{Q}.lora_A.weight": np.ones((2, 4)), f"{Q}.lora_B.weight": np.ones((4, 2)), f"{Q}.ia3_l": np.ones(4)},
        peft_type="LORA",
    ),
    "one factor": make.adapter({f"{Q}.lora_A.weight": np.ones((2, 4))}, peft_type="LORA"),
    "ranks differ": make.adapter(
        {f"{Q}.lora_A.weight": np.ones((2, 4)), f"{Q}.lora_B.weight": np.ones((4, 3))}, peft_type="LORA"
    ),
    "not finite": make.rewritten(ORIGINAL, {**make.tensors_of(ORIGINAL), "x": np.array([np.nan])}),
    "overflows": make.rewritten(ORIGINAL, {n: v * 1e300 for n, v in make.tensors_of(ORIGINAL).items()}, "F64", lora_alpha=1e300),
    "alpha is text": make.rewritten(ORIGINAL, make.tensors_of(ORIGINAL), lora_alpha="8"),
    "pattern is a list": make.rewritten(ORIGINAL, make.tensors_of(ORIGINAL), alpha_pattern=["q_proj"]),
    "pattern looks around": make.rewritten(ORIGINAL, make.tensors_of(ORIGINAL), alpha_pattern={"(?=q)q": 4}),
    "many patterns": make.rewritten(ORIGINAL, make.tensors_of(ORIGINAL), alpha_pattern={f"k{n}": 4 for n in range(700_000)}),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_has_not_one_reading_has_no_digest(name):
    with pytest.raises(Uncomputable) as error:
        function_digest(BROKEN[name])
    assert error.value.where is not None


@pytest.mark.parametrize(("dtype", "bits", "number"), [("F8_E4M3", 0x7E, 448.0), ("F8_E5M2", 0x7B, 57344.0), ("F8_E4M3", 0x81, -(2.0**-9)), ("BOOL", 1, 1.0), ("I8", 0xFF, -1.0)])  # fmt: skip
def test_narrow_dtypes_are_read_as_their_numbers(dtype, bits, number):
    header = json.dumps({"x": {"dtype": dtype, "shape": [1], "data_offsets": [0, 1]}}).encode()
    (tensor,) = read_tensors(len(header).to_bytes(8, "little") + header + bytes([bits]))
    assert tensor.values().tolist() == [number]


PREFIX = {"peft_type": "PREFIX_TUNING", "num_layers": 2, "num_attention_heads": 2, "token_dim": 4}


def _equal(one, other):
    found = take(one, bytes(32))
    return judge(found, prints_of(other, [found.nonce])) is Word.EQUAL


def test_a_prefix_whose_tokens_are_mixed_is_another():
    """Products of numbers alone would be the same after a rotation across tokens."""
    numbers = np.random.default_rng(1).normal(size=(3, 16))
    files = make.adapter({"prompt_embeddings": numbers}, **PREFIX)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    mixed = make.adapter({"prompt_embeddings": turn @ numbers}, **PREFIX)
    ordered = make.adapter({"prompt_embeddings": numbers[[2, 0, 1]]}, **PREFIX)
    assert function_digest(ordered) == function_digest(files) != function_digest(mixed)
    assert _equal(files, ordered)
    assert not _equal(files, mixed)


@pytest.mark.parametrize(
    "said", [{"num_layers": 3}, {"num_attention_heads": 3}, {"token_dim": None}, {"num_layers": True}], ids=str
)
def test_a_prefix_whose_columns_are_of_no_head_is_compared_as_it_is_stored(said):
    numbers = np.random.default_rng(1).normal(size=(3, 16))
    files = make.adapter({"prompt_embeddings": numbers}, **{**PREFIX, **said})
    ordered = make.adapter({"prompt_embeddings": numbers[::-1]}, **{**PREFIX, **said})
    assert function_digest(files) != function_digest(ordered)
    assert _equal(files, files)


@pytest.mark.parametrize(
    ("place", "shape", "same"),
    [("up_proj", (24, 1), True), ("up_proj", (1, 24), False), ("gate_proj", (24, 1), False)],
    ids=["what the gated product is multiplied by", "what goes into up_proj", "what goes into the gate"],
)
def test_a_factor_counts_where_it_acts(place, shape, same):
    factor = 1 + np.arange(24.0) / 8
    mlp = "base_model.model.layers.0.mlp"
    one = make.adapter({f"{mlp}.down_proj.ia3_l": factor.reshape(1, 24)}, peft_type="IA3")
    other = make.adapter({f"{mlp}.{place}.ia3_l": factor.reshape(shape)}, peft_type="IA3")
    assert (function_digest(one) == function_digest(other)) is same
