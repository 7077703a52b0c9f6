"""strength.*: the factors are those that PEFT itself multiplies with."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe_static.static_support import config, f32, observed, safetensors, subject
from peft_assay.core.context import Engine
from peft_assay.core.observation import Status
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.interface import BaseFacts, StaticContext

MODULES = ("model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.v_proj", "model.layers.1.mlp.up_proj")


def weights(*modules, rank=2, marks=("lora_A.weight", "lora_B.weight"), more=None):
    tensors = {}
    for module in modules:
        for mark in marks:
            shape = [rank, 4] if mark.endswith(("A.weight", "_a")) else [4, rank]
            tensors[f"base_model.model.{module}.{mark}"] = ("F32", shape, f32(*[0.5] * rank * 4))
    return safetensors({**tensors, **(more or {})})


def strength(configuration, content, base=None):
    context = StaticContext(engine=Engine("peft", "float32", 64), base=BaseFacts(base) if base else None)
    found = observe_static(subject(configuration=configuration, weights=content, context=context))
    return {o.name.removeprefix("strength."): o for o in found if o.name.startswith("strength.")}


KEYS = st.sampled_from(
    [
        "q_proj",
        "v_proj",
        "self_attn.q_proj",
        "layers.1.*",
        ".*proj",
        "q_proj|up_proj",
        "model.layers.0.self_attn.q_proj",
        "p_proj",
    ]
)


@pytest.mark.model
@settings(max_examples=40, deadline=None)
@given(
    alphas=st.dictionaries(KEYS, st.integers(1, 200), max_size=4),
    ranks=st.dictionaries(KEYS, st.integers(1, 6), max_size=4),
    alpha=st.integers(1, 64),
    rank=st.integers(1, 6),
    root=st.booleans(),
    kind=st.sampled_from(["LORA", "LOHA", "LOKR"]),
)
def test_the_factors_are_those_of_peft(alphas, ranks, alpha, rank, root, kind):
    import peft
    import torch
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for module in MODULES:
                self._put(module.split("."), torch.nn.Linear(8, 8))

        def _put(self, path, leaf):
            at = self
            for name in path[:-1]:
                if not hasattr(at, name):
                    at.add_module(name, torch.nn.Module())
                at = getattr(at, name)
            at.add_module(path[-1], leaf)

    field = "lora_alpha" if kind == "LORA" else "alpha"
    fields = {"r": rank, field: alpha, "rank_pattern": ranks, "alpha_pattern": alphas}
    fields |= {"use_rslora": root} if kind == "LORA" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(
            Block(),
            PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(kind)](target_modules=["q_proj", "v_proj", "up_proj"], **fields),
        )
        content = {
            name: ("F32", list(tensor.shape), tensor.detach().numpy().astype("<f4").tobytes())
            for name, tensor in peft.get_peft_model_state_dict(model).items()
        }
    scaled = [
        m.scaling["default"] for m in model.modules() if isinstance(getattr(m, "scaling", None), dict) and m.scaling
    ]
    seen = strength(config(kind, **fields), safetensors(content))
    assert seen["largest"].value == pytest.approx(max(scaled), rel=1e-9)
    declared = alpha / (rank**0.5 if kind == "LORA" and root else rank)
    assert seen["beyond_declared"].value == pytest.approx(max(1.0, max(scaled) / declared), rel=1e-9)


def test_what_comes_first_counts_and_the_second_is_told():
    fields = {"r": 4, "lora_alpha": 8, "alpha_pattern": {"q_pro.": 200, "q_proj": 8}}
    seen = strength(config(**fields), weights(*MODULES, rank=4))
    assert (seen["largest"].value, seen["relative"].value, seen["beyond_declared"].value) == (50.0, 50.0, 25.0)
    assert seen["largest"].reason == MODULES[0]
    (told,) = seen["overlaps"].value
    assert told == f"{MODULES[0]}: alpha_pattern 'q_pro.' says 200, 'q_proj' says 8"


def test_patterns_that_agree_or_match_nothing_are_no_overlap():
    fields = {"r": 2, "lora_alpha": 8, "alpha_pattern": {"q_proj": 8, ".*q_proj": 8, "nowhere": 900, "j": 900}}
    seen = strength(config(**fields), weights(*MODULES))
    assert (seen["largest"].value, seen["overlaps"].value) == (4.0, ())


@pytest.mark.parametrize(
    ("kind", "fields", "largest", "relative"),
    [
        ("FOURIERFT", {"scaling": 300.0}, 300.0, 2.0),
        ("WAVEFT", {"scaling": 2500.0}, 2500.0, 100.0),
        ("RANDLORA", {"randlora_alpha": 640, "r": 32}, 20.0, 1.0),
        ("GRALORA", {"alpha": 64, "r": 16, "hybrid_r": 16}, 2.0, 1.0),
        ("LILY", {"scaling": 40.0}, 40.0, 40.0),
        ("SUPERTUNING", {"r": 8, "lora_alpha": None}, 2.0, 1.0),
        ("IA3", {}, 1.0, 1.0),
        ("PREFIX_TUNING", {}, 1.0, 1.0),
        (
            "ADALORA",
            {"lora_alpha": 32, "init_r": 12, "rank_pattern": {"a.lora_E": [True, False], "b.lora_E": [True] * 4}},
            32.0,
            48.0,
        ),
        ("LORA", {"lora_alpha": 32, "r": 32, "use_rslora": True}, 32**0.5, 32**0.5),
    ],
)
def test_every_type_by_its_own_field_and_unit(kind, fields, largest, relative):
    seen = strength(config(kind, **fields), weights(MODULES[0], marks=("oddly.named",)))
    assert (seen["largest"].value, seen["relative"].value) == (pytest.approx(largest), pytest.approx(relative))
    assert seen["beyond_declared"].value == 1.0


def test_delora_multiplies_with_what_its_file_says():
    more = {f"base_model.model.{MODULES[0]}.delora_lambda": ("F32", [1], f32(-300.0))}
    content = weights(MODULES[0], marks=("delora_A", "delora_B"), more=more)
    seen = strength(config("DELORA", r=2, delora_lambda=15.0), content)
    assert (seen["largest"].value, seen["beyond_declared"].value) == (150.0, 20.0)


@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_dora_s_magnitudes_are_compared_with_the_base(dtype):
    values = np.full(16, 3.0, dtype="<f4")
    stored = (
        (values.view("<u4") >> 16).astype("<u2")
        if dtype == "BF16"
        else values.astype({"F32": "<f4", "F16": "<f2"}[dtype])
    )
    more = {f"base_model.model.{MODULES[0]}.lora_magnitude_vector": (dtype, [16], stored.tobytes())}
    content = weights(MODULES[0], more=more)
    base = {f"{MODULES[0]}.weight": 2.0}
    assert strength(config(use_dora=True), content, base)["magnitude"].value == pytest.approx(6.0)
    assert strength(config(use_dora=True), content)["magnitude"].status is Status.NOT_APPLICABLE
    unknown = strength(config(use_dora=True), content, {"elsewhere": 1.0})["magnitude"]
    assert (unknown.status, MODULES[0] in unknown.reason) == (Status.FAILED, True)
    assert strength(config(), weights(MODULES[0]), base)["magnitude"].value == 1.0


@pytest.mark.parametrize(
    "fields",
    [
        {"alpha_pattern": {"q_proj": "8"}},
        {"alpha_pattern": {"q_proj": 10**400}},
        {"alpha_pattern": {"(": 8}},
        {"rank_pattern": {"q_proj": 0}},
        {"r": 0},
        {"lora_alpha": True},
        {"alpha_pattern": ["q_proj"]},
    ],
)
def test_what_has_no_one_reading_is_not_measured(fields):
    seen = strength(config(**fields), weights(*MODULES))
    assert {o.status for o in seen.values()} == {Status.FAILED}
    json.dumps({name: o.reason for name, o in seen.items()})


def test_inspect_tells_a_pattern_and_what_rslora_makes_of_alpha():
    told = observed(
        "config.unusual", configuration=config(r=16, lora_alpha=64, use_rslora=True, rank_pattern={"q": 2})
    ).value
    assert "scaling: alpha / sqrt(r) is 16" in told
    assert "rank_pattern: 1 expressions give single modules another rank" in told


@pytest.mark.parametrize("key", [".{,60}q_proj", "[[:alpha:]]_proj", "zzz)|(.*q_proj", "model)|(zzz"])
def test_a_key_that_python_reads_otherwise_than_re2_gives_no_number(key):
    import re

    assert key.startswith("[") or re.match(rf"(.*\.)?({key})$", MODULES[0])  # what PEFT asks
    seen = strength(config(alpha_pattern={key: 5000}), weights(*MODULES))
    assert {found.status for found in seen.values()} == {Status.FAILED}
    assert strength(config(alpha_pattern={".{0,60}q_proj": 5000}), weights(*MODULES))["largest"].value == 5000 / 8


@pytest.mark.parametrize("target", ["q_proj.weight", "weight", "model.layers.0.self_attn.q_proj.weight"])
def test_a_pattern_for_a_parameter_counts_for_its_module(target):
    said = {"target_modules": [], "target_parameters": [target], "alpha_pattern": {"q_proj.weight": 5000}}
    assert strength(config(**said), weights(*MODULES))["largest"].value == 5000 / 8
    assert strength(config(**{**said, "alpha_pattern": {}}), weights(*MODULES))["largest"].value == 1.0
    other = {**said, "target_parameters": ["k_proj.weight"]}
    assert strength(config(**other), weights(*MODULES))["largest"].value == 1.0


def test_a_number_too_large_for_a_float_is_told():
    for said in ({"lora_alpha": 10**400}, {"r": 10**400}, {"r": 10**400, "use_rslora": True}):
        found = observed("bounds.exceeded", configuration=config(**said), weights=weights(*MODULES))
        assert "probe broke" not in str(found.reason)
        assert found.value, found
        assert "not a number" in str(observed("config.unusual", configuration=config(**said)).reason)
