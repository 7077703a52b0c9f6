"""Tensors of the base in an adapter's file, compared with the base: its own, of another vocabulary, or altered."""

import struct

import pytest

from observe_static.static_support import CONTEXT, config, f32, lora_tensors, observed, safetensors
from peft_assay.core.context import Engine
from peft_assay.core.observation import Status
from peft_assay.observe.interface import BaseFacts, Matrix, StaticContext

WIDTH = 2
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
OWN = {EMBEDDING: (1.0, 2.0, 3.0, 4.0, 5.0, 6.0), HEAD: (0.5, 0.25, 0.0, -1.0, 1.5, 3.0)}
"""Three tokens."""


def matrix(values, dtype="F32"):
    packed = packed_as(dtype, values)
    row = len(packed) // (len(values) // WIDTH)
    return Matrix(dtype, (len(values) // WIDTH, WIDTH), lambda first, last: packed[first * row : last * row])


def packed_as(dtype, values):
    if dtype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{'e' if dtype == 'F16' else 'f'}", *values)


def base(dtype="F32", **others):
    tensors = {name: matrix(values, dtype) for name, values in (OWN | others).items()}
    return BaseFacts(vocabulary=3, tensors=tensors)


def seen(term, tensors, facts=None, dtype="float32", **fields):
    """Observe `term` of a LoRA with these tensors beside, on a base with `facts`."""
    whole = {
        f"base_model.model.{name}": (kind, [len(values) // WIDTH, WIDTH], packed_as(kind, values))
        for name, (kind, values) in tensors.items()
    }
    content = safetensors({**lora_tensors(), **whole})
    context = StaticContext(
        Engine("peft", dtype, 32), CONTEXT.datasets, "apache-2.0", base=facts or base(), weights=lambda: content
    )
    return observed(term, weights=content, configuration=config(**fields), context=context)


def beside(rows=()):
    return {name: ("F32", (*values, *rows)) for name, values in OWN.items()}


NEW = (9.0, 8.0)


def test_the_base_s_own_is_said_and_is_no_reach():
    assert seen("weights.undeclared", beside()).value == ()
    told = seen("weights.beside", beside()).value
    assert sorted(told) == [f"base_model.model.{name}: the base's own, ignored" for name in sorted(OWN)]
    assert seen("reach.vocabulary", beside()).value == ()
    assert seen("reach.altered_rows", beside()).value == 0
    assert seen("reach.full_weights", beside(), modules_to_save=["embed_tokens", "lm_head"]).value == ()


def test_a_larger_vocabulary_is_named_and_counted():
    told = seen("reach.vocabulary", beside(NEW)).value
    assert "base_model.model.lm_head.weight: 4 rows, 1 more than the base's; the rows of the base are unchanged" in told
    assert seen("reach.new_tokens", beside(NEW)).value == 1
    for term, value in (("reach.altered_rows", 0), ("weights.undeclared", ()), ("weights.beside", ())):
        assert seen(term, beside(NEW)).value == value
    assert seen("reach.full_weights", beside(NEW), modules_to_save=["embed_tokens", "lm_head"]).value == ()


def test_fewer_tokens_are_named_too():
    fewer = {name: ("F32", values[:-WIDTH]) for name, values in OWN.items()}
    assert all("2 rows, 1 fewer than the base's" in told for told in seen("reach.vocabulary", fewer).value)
    assert seen("reach.new_tokens", fewer).value == 0


@pytest.mark.parametrize("at", range(6))
def test_one_altered_number_is_an_altered_row(at):
    values = list(OWN[HEAD])
    values[at] += 1e-3
    altered = {HEAD: ("F32", (*values, *NEW)), EMBEDDING: ("F32", (*OWN[EMBEDDING], *NEW))}
    found = seen("reach.altered_rows", altered)
    assert (found.value, found.reason) == (1, "lm_head.weight: 1")
    same_size = seen("weights.undeclared", {HEAD: ("F32", tuple(values))})
    assert same_size.value == ("base_model.model.lm_head.weight",)
    assert same_size.reason == "base_model.model.lm_head.weight: 1 rows are not the base's"
    assert seen("reach.full_weights", altered, modules_to_save=["lm_head"]).value == ("lm_head",)


def test_a_negative_zero_is_another_number():
    values = [value or -0.0 for value in OWN[HEAD]]
    assert seen("reach.altered_rows", {HEAD: ("F32", tuple(values))}).value == 1


@pytest.mark.parametrize("name", ["model.norm.weight", "model.layers.0.mlp.up_proj.weight"])
def test_only_embeddings_may_have_other_rows(name):
    """A matrix that has as many rows as the base has tokens is an embedding; no other one grows."""
    facts = base(**{"model.norm.weight": (1.0, 2.0), "model.layers.0.mlp.up_proj.weight": (1.0, 2.0, 3.0, 4.0)})
    grown = {name: ("F32", (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0))}
    assert seen("weights.undeclared", grown, facts).value == (f"base_model.model.{name}",)


@pytest.mark.parametrize(
    "wrapped",
    [
        "model.embed_tokens.base_layer.weight",
        "model.embed_tokens.token_adapter.base_layer.weight",
        "model.embed_tokens.original_module.weight",
    ],
)
def test_what_pefts_modules_wrap_is_the_base_s(wrapped):
    assert seen("weights.undeclared", {wrapped: ("F32", OWN[EMBEDDING])}).value == ()
    values = (0.0, *OWN[EMBEDDING][1:])
    assert seen("weights.undeclared", {wrapped: ("F32", values)}).value == (f"base_model.model.{wrapped}",)


def test_a_second_copy_of_a_trained_matrix_must_be_its_copy():
    name, copy = "model.embed_tokens.weight", "model.embed_tokens.modules_to_save.weight"
    trained = (*OWN[EMBEDDING], *NEW)
    fields = {"modules_to_save": ["embed_tokens"]}
    assert seen("weights.undeclared", {name: ("F32", trained), copy: ("F32", trained)}, **fields).value == ()
    other = (*trained[:-1], 0.0)
    found = seen("reach.altered_rows", {name: ("F32", trained), copy: ("F32", (7.0, *other[1:]))}, **fields)
    assert found.value == 1


@pytest.mark.parametrize(
    ("stored", "saved", "served"),
    [("F32", "F32", "bfloat16"), ("BF16", "F32", "float32"), ("F32", "BF16", "bfloat16"), ("F32", "F16", "float16")],
)
def test_both_are_compared_as_they_are_loaded(stored, saved, served):
    assert seen("reach.altered_rows", {HEAD: (saved, OWN[HEAD])}, base(stored), served).value == 0


def test_what_is_rounded_away_is_no_difference_and_half_a_step_is():
    near = {HEAD: ("F32", (0.5 + 2**-20, *OWN[HEAD][1:]))}
    assert seen("reach.altered_rows", near, dtype="bfloat16").value == 0
    assert seen("reach.altered_rows", near, dtype="float32").value == 1


def test_a_tied_head_is_compared_with_the_embedding():
    """Where output and input share a matrix, the base's files have it once."""
    facts = BaseFacts(vocabulary=3, tensors={EMBEDDING: matrix(OWN[EMBEDDING])})
    assert seen("weights.undeclared", {HEAD: ("F32", OWN[EMBEDDING])}, facts).value == ()
    assert seen("reach.altered_rows", {HEAD: ("F32", OWN[HEAD])}, facts).value > 0


def test_without_a_base_nothing_is_compared_and_it_is_said():
    both = {f"base_model.model.{name}": ("F32", [3, WIDTH], f32(*values)) for name, values in OWN.items()}
    content = safetensors({**lora_tensors(), **both})
    told = observed("weights.beside", weights=content, configuration=config())
    assert sorted(told.value) == sorted(f"{name}: 3 rows, not compared" for name in both)
    assert observed("weights.undeclared", weights=content, configuration=config()).value == ()
    assert observed("reach.altered_rows", weights=content, configuration=config()).status is Status.FAILED
    alone = safetensors({**lora_tensors(), f"base_model.model.{HEAD}": both[f"base_model.model.{HEAD}"]})
    assert observed("weights.undeclared", weights=alone, configuration=config()).value, "PEFT saves both"
    other = safetensors({**lora_tensors(), "base_model.model.model.norm.weight": ("F32", [2], f32(1, 2))})
    assert observed("weights.undeclared", weights=other, configuration=config()).value


@pytest.mark.parametrize(
    ("indices", "value"),
    [([3, 4], ()), ({"embed_tokens": [3]}, ()), ([2], ("token rows (trainable_token_indices)",)), ([True], None)],
)
def test_token_rows_are_a_reach_where_the_base_has_the_token(indices, value):
    found = seen("reach.full_weights", {}, trainable_token_indices=indices).value
    assert found == (("token rows (trainable_token_indices)",) if value is None else value)
