"""Sizes and norms out of the base's own folder: as the framework would compute them, and read only when asked for."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from observe_static.static_support import safetensors
from peft_assay.pipeline.base import base_facts
from peft_assay.pipeline.norms import PIECE, Norms

ZOO_BASE = Path(__file__).parents[2] / "examples" / "zoo" / "base"
CODES = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


def _base(folder: Path, config: dict, **tensors) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    if tensors:
        (folder / "model.safetensors").write_bytes(safetensors(tensors))
    return folder


@pytest.mark.parametrize("dtype", sorted(CODES))
def test_the_norm_is_the_norm(tmp_path, dtype):
    values = np.random.default_rng(1).normal(size=(7, 9)).astype(CODES[dtype])
    folder = _base(tmp_path, {}, **{"a.weight": (dtype, [7, 9], values.tobytes())})
    assert Norms(folder)["a.weight"] == pytest.approx(np.linalg.norm(values.astype(float)), rel=1e-12)


def test_bfloat16_and_a_tensor_of_several_pieces(tmp_path):
    count = PIECE // 2 + 1_000
    half = struct.pack("<H", 0x3F00) * count  # 0.5
    folder = _base(tmp_path, {}, **{"a.weight": ("BF16", [count], half)})
    assert Norms(folder)["a.weight"] == pytest.approx(0.5 * count**0.5)


def test_names_without_the_model_s_own_prefix_are_found_and_others_are_not(tmp_path):
    one = ("F32", [1], np.float32([3]).tobytes())
    norms = Norms(_base(tmp_path, {}, **{"h.0.weight": one, "ids": ("I64", [1], bytes(8))}))
    assert norms["h.0.weight"] == norms["transformer.h.0.weight"] == 3
    assert len(norms) == 1
    assert norms.get("x.transformer.h.0.weight") is None
    assert norms.get("ids") is None


def test_each_tensor_is_read_once_and_only_when_asked_for(tmp_path):
    one = ("F32", [1], np.float32([3]).tobytes())
    folder = _base(tmp_path, {}, a=one, b=one)
    norms = Norms(folder)
    assert norms["a"] == 3
    (folder / "model.safetensors").unlink()
    assert norms["a"] == 3
    assert norms.get("b") is None


def test_a_file_that_is_none_has_no_tensors(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 100)
    (tmp_path / "other.safetensors").write_bytes(b"")
    assert len(Norms(tmp_path)) == 0


@pytest.mark.parametrize(
    ("config", "positions", "vocabulary"),
    [
        ({"max_position_embeddings": 64, "vocab_size": 10}, 64, 10),
        ({"n_positions": 32}, 32, None),
        ({"text_config": {"max_position_embeddings": 128, "vocab_size": 7}}, 128, 7),
        ({"max_position_embeddings": "64"}, None, None),
        ({"max_position_embeddings": True}, None, None),
        ([], None, None),
    ],
)
def test_sizes_are_what_the_configuration_says(tmp_path, config, positions, vocabulary):
    facts = base_facts(_base(tmp_path, config))
    assert (facts.positions, facts.vocabulary) == (positions, vocabulary)


def test_no_configuration_says_nothing(tmp_path):
    assert base_facts(tmp_path).positions is None


@pytest.mark.model
def test_norms_of_the_zoo_s_base_are_torch_s():
    load_file = pytest.importorskip("safetensors.torch").load_file
    facts = base_facts(ZOO_BASE)
    for name, tensor in load_file(ZOO_BASE / "model.safetensors").items():
        assert facts.norms[name] == pytest.approx(float(tensor.double().norm()), rel=1e-9)
