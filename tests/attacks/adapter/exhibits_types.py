"""Attacks by values of another type inside lists and mappings: PEFT reads `false` as 0 and `true` as 1.

A person, a schema or another reader sees no number where PEFT counts one: a layer, a strength, a token.
"""

from pathlib import Path

import pytest

from attacks.adapter.museum import Exhibit, edit_config, load_plainly, resave


def build_a_layer_that_is_false(folder: Path) -> None:
    edit_config(folder, layers_to_transform=[False])


def is_on_the_first_layer(folder: Path) -> None:
    loaded, said = load_plainly(folder)
    assert said == []
    assert [name for name, _ in loaded.named_modules() if name.endswith("layers.0.self_attn.q_proj.lora_A")]


def build_a_rank_that_is_true(folder: Path) -> None:
    resave(folder, rank_pattern={"q_proj": 1})
    edit_config(folder, rank_pattern={"q_proj": True})


def is_refused_by_torch(folder: Path) -> None:
    with pytest.raises(TypeError, match="tuple of ints"):
        load_plainly(folder)


def build_a_strength_that_is_true(folder: Path) -> None:
    edit_config(folder, alpha_pattern={"q_proj": True})


def has_strength_one_fourth(folder: Path) -> None:
    loaded, said = load_plainly(folder)
    assert said == []
    assert loaded.base_model.model.model.layers[0].self_attn.q_proj.scaling["default"] == 0.25


def build_a_token_that_is_true(folder: Path) -> None:
    resave(folder, trainable_token_indices=[1, 2])
    edit_config(folder, trainable_token_indices=[True, 2])


def replaces_the_second_token(folder: Path) -> None:
    loaded, said = load_plainly(folder)
    assert said == []
    layer = loaded.base_model.model.model.embed_tokens
    assert [int(token) for token in layer.token_adapter.token_indices["default"]] == [1, 2]


EXHIBITS = (
    Exhibit(
        "2.38", build_a_layer_that_is_false, "adapts layer 0", "config",
        {"config.strict": "layers_to_transform[0]: bool"}, is_on_the_first_layer, silent=True,
    ),
    Exhibit(
        "2.38", build_a_rank_that_is_true, "TypeError, by torch: a size is no boolean", "config",
        {"config.strict": "rank_pattern.q_proj: bool"}, is_refused_by_torch,
    ),
    Exhibit(
        "2.38", build_a_strength_that_is_true, "divides it like 1", "config",
        {"config.strict": "alpha_pattern.q_proj: bool"}, has_strength_one_fourth, silent=True,
    ),
    Exhibit(
        "2.38", build_a_token_that_is_true, "replaces the row of token 1", "config",
        {"config.strict": "trainable_token_indices[0]: bool"}, replaces_the_second_token, silent=True,
    ),
)  # fmt: skip
