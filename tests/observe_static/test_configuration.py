"""What the configuration declares: strictness, redirects, rewrites, conditions, bounds, reach, stack."""

import json

import pytest

from observe_static.static_support import CONTEXT, config, observed
from peft_assay.core.context import Engine
from peft_assay.core.observation import Status
from peft_assay.observe.interface import BaseFacts, StaticContext
from peft_assay.observe.static.bounds import MAX_SIZES
from peft_assay.observe.static.stack import FEATURES
from peft_assay.observe.static.tables import engine_table, peft_table

DEPENDENT = (
    "bounds.exceeded", "bounds.max_rank", "config.base_rewrites", "config.conditional", "config.redirects",
    "reach.full_weights", "stack.unsupported", "weights.undeclared",
)  # fmt: skip


def _value(term: str, peft_type: str = "LORA", **fields):
    return observed(term, configuration=config(peft_type, **fields)).value


@pytest.mark.parametrize("peft_type", sorted(peft_table().types))
def test_what_peft_writes_by_default_is_strict_for_every_type(peft_type):
    assert observed("config.strict", configuration=config(peft_type)).reason is None


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"r": True}, "r: bool"),
        ({"r": "8"}, "r: str"),
        ({"r": 8.0}, "r: float"),
        ({"use_dora": 1}, "use_dora: int"),
        ({"new_field": 1}, "not a field"),
        ({"rank_pattern": []}, "rank_pattern: list"),
        ({"layers_to_transform": [False, True, 2, 3]}, "layers_to_transform[0]: bool where int is meant"),
        ({"layers_to_transform": [0, 1.0]}, "layers_to_transform[1]: float where int is meant"),
        ({"layers_to_transform": [[0]]}, "layers_to_transform[0]: list where int is meant"),
        ({"target_modules": ["q_proj", None]}, "target_modules[1]: null where str is meant"),
        ({"modules_to_save": [["lm_head"]]}, "modules_to_save[0]: list where str is meant"),
        ({"rank_pattern": {"q_proj": 8.0}}, "rank_pattern.q_proj: float where int is meant"),
        ({"alpha_pattern": {"q_proj": "16"}}, "alpha_pattern.q_proj: str where float or int is meant"),
        ({"auto_mapping": {"parent_library": ["a"]}}, "auto_mapping.parent_library: list"),
        ({"trainable_token_indices": {"embed_tokens": [1, "2"]}}, "trainable_token_indices.embed_tokens[1]: str"),
        ({"alora_invocation_tokens": [True]}, "alora_invocation_tokens[0]: bool where int is meant"),
        ({"layer_replication": [[0, 1, 2]]}, "layer_replication[0]: list where list of 2 is meant"),
        ({"layer_replication": [[0, True]]}, "layer_replication[0][1]: bool where int is meant"),
        ({"bias": "some"}, "bias: str where 'all' or 'lora_only' or 'none' is meant"),
        ({"eva_config": {"rho": True}}, "eva_config.rho: bool where float is meant"),
        ({"eva_config": {"rho": 2.0, "other": 1}}, "eva_config: dict where null or dict of"),
        ({"loftq_config": {"loftq_bits": "4"}}, "loftq_config.loftq_bits: str where int is meant"),
        ({"peft_type": None}, "no peft_type"),
        ({"peft_type": "LORA2"}, "not one of PEFT"),
    ],
)
def test_unknown_fields_and_wrong_types_are_not_strict(fields, why):
    observation = observed("config.strict", configuration={**config(), **fields})
    assert observation.value is False
    assert why in str(observation.reason)


@pytest.mark.parametrize(
    ("peft_type", "fields"),
    [
        ("LORA", {"brand_new_config": None, "use_next": False, "next_pattern": {}, "next_list": [], "next_name": ""}),
        ("LORA", {"enable_lora": None, "merge_weights": False}),
        ("OFT", {"alpha_pattern": {}, "rank_pattern": {}}),
        ("LORA", {"runtime_config": {"ephemeral_gpu_offload": True}}),
    ],
)
def test_unknown_fields_without_a_value_are_named_and_refuse_nothing(peft_type, fields):
    assert observed("config.strict", configuration=config(peft_type, **fields)).value is True
    told = observed("config.unusual", configuration=config(peft_type, **fields)).value
    assert [f"unknown-without-value: {name}, which PEFT leaves out" for name in fields] == [
        line for line in told if line.startswith("unknown-without-value")
    ]


@pytest.mark.parametrize("value", [True, 0, 1, 0.0, "none", [None], {"a": None}])
def test_unknown_fields_with_a_value_refuse(value):
    assert observed("config.strict", configuration=config(brand_new=value)).value is False


def test_a_byte_order_mark_is_refused_as_peft_refuses_it():
    told = observed("config.strict", files={"adapter_config.json": b"\xef\xbb\xbf" + json.dumps(config()).encode()})
    assert told.value is False
    assert "byte order mark" in str(told.reason)


def test_numbers_that_json_writes_both_ways_are_strict():
    assert _value("config.strict", lora_alpha=16.0, lora_dropout=0) is True
    assert _value("config.strict", alpha_pattern={"q_proj": 8.0, "v_proj": 8}, eva_config={"rho": 2}) is True


@pytest.mark.parametrize(
    ("peft_type", "fields"),
    [
        ("LORA", {"layers_to_transform": [0, 3], "layer_replication": [[0, 4], [2, 5]], "rank_pattern": {"q.*": 4}}),
        ("LORA", {"layers_to_transform": 2, "target_modules": "all-linear", "modules_to_save": []}),
        ("LORA", {"trainable_token_indices": {"embed_tokens": [1, 2]}, "init_lora_weights": "pissa_niter_16"}),
        ("LORA", {"auto_mapping": {"base_model_class": "CLIPTextModel", "parent_library": "transformers"}}),
        ("ADALORA", {"rank_pattern": {"q_proj.lora_E": [True, False]}}),
        ("OSF", {"rank_pattern": {"q_proj": 0.5, "v_proj": 4}}),
        ("XLORA", {"adapters": {"0": "a", "1": "b"}}),
        ("CPT", {"cpt_token_ids": [1, 2], "cpt_mask": [1, 1]}),
    ],
)
def test_what_peft_s_annotations_and_descriptions_mean_is_strict(peft_type, fields):
    assert observed("config.strict", configuration=config(peft_type, **fields)).reason is None


@pytest.mark.parametrize(
    "content",
    [b'{"peft_type": "LORA", "r": 8, "r": 800}', b'{"peft_type": "LORA", "lora_alpha": NaN}', b"[]", b"", b"\xff{}"],
)
def test_a_configuration_with_two_readings_fails_everything_that_rests_on_it(content):
    files = {"adapter_config.json": content}
    assert observed("config.strict", files=files).value is False
    assert {observed(term, files=files).status for term in DEPENDENT} == {Status.FAILED}


@pytest.mark.parametrize(
    ("peft_type", "fields", "found"),
    [
        ("LORA", {"megatron_config": {"a": 1}}, ("megatron_config",)),
        ("LORA", {"megatron_core": "megatron.evil"}, ("megatron_core",)),
        ("LORA", {"auto_mapping": {"parent_library": "evilx", "base_model_class": "A"}}, ("auto_mapping",)),
        ("LORA", {"auto_mapping": {"parent_library": "transformersx", "base_model_class": "A"}}, ("auto_mapping",)),
        ("LORA", {"auto_mapping": "evil"}, ("auto_mapping",)),
        ("LORA", {"corda_config": {"cache_file": "/etc/passwd"}}, ("corda_config.cache_file",)),
        ("XLORA", {"adapters": {"0": "attacker/repo"}}, ("adapters",)),
        ("SHADOW", {"shadow_model": "attacker/repo"}, ("shadow_model",)),
        ("MULTITASK_PROMPT_TUNING", {"prompt_tuning_init_state_dict_path": "/etc/passwd"},
         ("prompt_tuning_init_state_dict_path",)),
        ("PROMPT_TUNING", {"tokenizer_name_or_path": "attacker/repo"}, ("tokenizer_name_or_path",)),
        ("PROMPT_TUNING", {"tokenizer_kwargs": {"trust_remote_code": True}}, ("tokenizer_kwargs",)),
    ],
)  # fmt: skip
def test_redirects(peft_type, fields, found):
    assert _value("config.redirects", peft_type, **fields) == found


@pytest.mark.parametrize(
    ("peft_type", "fields"),
    [
        ("LORA", {"auto_mapping": {"parent_library": "transformers.models.blip", "base_model_class": "Blip"}}),
        ("LORA", {"base_model_name_or_path": "/a/local/path", "revision": "abc"}),
        ("PROMPT_TUNING", {"tokenizer_name_or_path": "zoo/base"}),
    ],
)
def test_ordinary_names_are_no_redirects(peft_type, fields):
    assert _value("config.redirects", peft_type, **fields) == ()


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"init_lora_weights": "pissa"}, ("init_lora_weights=pissa",)),
        ({"init_lora_weights": "PiSSA_niter_4"}, ("init_lora_weights=PiSSA_niter_4",)),
        ({"init_lora_weights": "olora"}, ("init_lora_weights=olora",)),
        ({"init_lora_weights": "invented"}, ("init_lora_weights=invented",)),
        ({"init_lora_weights": 1}, ("init_lora_weights=1",)),
        ({"layer_replication": [[0, 4], [2, 5]]}, ("layer_replication",)),
        ({"init_lora_weights": "gaussian"}, ()),
        ({"init_lora_weights": "orthogonal"}, ()),
        ({"init_lora_weights": False}, ()),
    ],
)
def test_rewrites(fields, found):
    assert _value("config.base_rewrites", **fields) == found


@pytest.mark.parametrize(
    ("peft_type", "fields", "found"),
    [
        ("LORA", {"alora_invocation_tokens": [1, 2]}, ("alora_invocation_tokens",)),
        ("LORA", {"alora_invocation_tokens": []}, ("alora_invocation_tokens",)),
        ("LORA", {"arrow_config": {"top_k": 2}}, ("arrow_config",)),
        ("XLORA", {}, ("peft_type=XLORA",)),
        ("POLY", {}, ("peft_type=POLY",)),
        ("IA3", {}, ()),
    ],
)
def test_conditions(peft_type, fields, found):
    assert _value("config.conditional", peft_type, **fields) == found


@pytest.mark.parametrize(
    ("peft_type", "fields", "field"),
    [
        ("LORA", {"r": 513}, "r"),
        ("LORA", {"r": 0}, "r"),
        ("LORA", {"r": -8}, "r"),
        ("LORA", {"rank_pattern": {"q_proj": 2_000_000}}, "rank_pattern.q_proj"),
        ("LORA", {"lora_alpha": 8193}, "lora_alpha"),
        ("LORA", {"lora_alpha": 0}, "lora_alpha"),
        ("LORA", {"lora_alpha": -16}, "lora_alpha"),
        ("LORA", {"lora_alpha": 1e30}, "lora_alpha"),
        ("LORA", {"lora_alpha": True}, "lora_alpha"),
        ("LORA", {"lora_alpha": "16"}, "lora_alpha"),
        ("LORA", {"alpha_pattern": {"q_proj": 1e9}}, "alpha_pattern.q_proj"),
        ("LORA", {"lora_alpha": 4096, "rank_pattern": {"q_proj": 1}}, "lora_alpha"),
        ("LORA", {"target_modules": [f"m{i}" for i in range(1001)]}, "target_modules"),
        ("LORA", {"target_modules": "[ab]c" * 500}, "target_modules"),
        ("PROMPT_TUNING", {"num_virtual_tokens": 4097}, "num_virtual_tokens"),
        ("PROMPT_TUNING", {"num_virtual_tokens": -1}, "num_virtual_tokens"),
        ("P_TUNING", {"encoder_hidden_size": 1 << 20}, "encoder_hidden_size"),
        ("ADALORA", {"init_r": 100_000}, "init_r"),
        ("SHADOW", {"shadow_hidden_size": 1 << 30}, "shadow_hidden_size"),
        ("LORA", {"qalora_group_size": 1 << 40}, "qalora_group_size"),
        ("LORA", {"a_new_field": -(1 << 40)}, "a_new_field"),
    ],
)
def test_sizes_over_the_limits(peft_type, fields, field):
    found = _value("bounds.exceeded", peft_type, **fields)
    assert [entry.split(":")[0] for entry in found] == [field]


def test_seeds_may_be_any_number():
    assert _value("bounds.exceeded", "SHIRA", random_seed=1 << 60) == ()


def test_every_bounded_size_is_a_field_of_some_type():
    fields = {name for row in peft_table().types.values() for name in row.fields}
    assert set(MAX_SIZES) <= fields


@pytest.mark.parametrize("peft_type", sorted(set(peft_table().types)))
def test_peft_s_defaults_are_within_the_limits_for_every_type(peft_type):
    assert _value("bounds.exceeded", peft_type) == ()


@pytest.mark.parametrize(
    ("peft_type", "fields", "rank"),
    [
        ("LORA", {"r": 16, "rank_pattern": {"a": 64, "b": 8}}, 64),
        ("LORA", {"r": 128}, 128),
        ("IA3", {}, 0),
        ("PROMPT_TUNING", {}, 0),
        ("ADALORA", {"init_r": 24, "target_r": 8}, 24),
    ],
)
def test_the_largest_rank(peft_type, fields, rank):
    assert _value("bounds.max_rank", peft_type, **fields) == rank


@pytest.mark.parametrize("fields", [{"r": True}, {"r": "8"}, {"r": 8.5}, {"rank_pattern": {"a": None}}])
def test_a_rank_that_is_no_whole_number_was_not_measured(fields):
    assert observed("bounds.max_rank", configuration=config(**fields)).status is Status.FAILED
    assert observed("stack.unsupported", configuration=config(**fields)).status is Status.FAILED


@pytest.mark.parametrize(
    ("peft_type", "fields", "found"),
    [
        ("LORA", {"modules_to_save": ["lm_head", "score"]}, ("lm_head", "score")),
        ("LORA", {"bias": "all"}, ("bias=all",)),
        ("LORA", {"trainable_token_indices": {"embed_tokens": [1]}}, ("token rows (trainable_token_indices)",)),
        ("TRAINABLE_TOKENS", {"token_indices": [1, 2]}, ("token rows (token_indices)",)),
        ("LN_TUNING", {}, ("layer norms (LN_TUNING)",)),
        ("LORA", {}, ()),
    ],
)
def test_reach(peft_type, fields, found):
    assert _value("reach.full_weights", peft_type, **fields) == found


def _stack(engine: str, max_rank: int | None, peft_type: str = "LORA", **fields):
    context = StaticContext(Engine(engine, "float32", max_rank), CONTEXT.datasets, "mit")
    return observed("stack.unsupported", context=context, configuration=config(peft_type, **fields))


@pytest.mark.parametrize(
    ("engine", "max_rank", "peft_type", "fields", "found"),
    [
        ("peft", 32, "LORA", {"r": 64}, ("rank 64 > 32",)),
        ("peft", 32, "LORA", {"r": 32, "use_dora": True, "modules_to_save": ["x"]}, ()),
        ("peft", None, "VERA", {}, ()),
        ("vllm", 16, "LORA", {"r": 16, "use_rslora": True}, ()),
        ("vllm", 16, "LORA", {"r": 32}, ("rank 32 > 16",)),
        ("vllm", 16, "LORA", {"use_dora": True, "modules_to_save": ["x"], "bias": "all"},
         ("use_dora", "modules_to_save", "bias")),
        ("vllm", 16, "IA3", {}, ("peft_type IA3",)),
        ("sglang", 16, "LORA", {"r": 16}, ()),
        ("sglang", 16, "LORA", {"r": 16, "target_modules": "all-linear"}, ()),
        ("sglang", 8, "LORA", {"r": 16}, ("rank 16 > 8",)),
        ("sglang", 16, "LORA", {"use_dora": True, "use_rslora": True, "alpha_pattern": {"q": 2}, "rank_pattern": {"q": 2}},
         ("use_dora", "rank_pattern", "alpha_pattern", "use_rslora")),
        ("sglang", 16, "LORA", {"target_modules": r".*\.q_proj"}, ("target_modules that are no list of names",)),
        ("sglang", 16, "LOHA", {}, ("peft_type LOHA",)),
    ],
)  # fmt: skip
def test_what_an_engine_cannot_serve(engine, max_rank, peft_type, fields, found):
    assert _stack(engine, max_rank, peft_type, **fields).value == found


@pytest.mark.parametrize(
    ("tokens", "rows", "refused"),
    [
        ('{"<pad>": 31}', 32, False),
        ('{"<new>": 32}', 32, True),
        ('{"<new>": 32}', None, True),
        ('{"<new>": "32"}', 99, True),
        ("[]", 32, True),
        ("{", 32, True),
    ],
)
def test_tokens_that_the_base_has_no_row_for(tokens, rows, refused):
    for engine, expected in (("sglang", refused), ("peft", False)):
        context = StaticContext(Engine(engine, "float32", 32), CONTEXT.datasets, "mit", base=BaseFacts(vocabulary=rows))
        found = observed("stack.unsupported", context=context, files={"added_tokens.json": tokens.encode()}).value
        assert (found != ()) is expected


def test_every_engine_says_where_it_was_read():
    for name, row in engine_table().engines.items():
        assert row.version
        assert row.source
        assert set(row.features) == set(FEATURES) | {"added_tokens", "target_expression"}, name


@pytest.mark.parametrize(("engine", "max_rank"), [("invented", 16), ("vllm", None), ("sglang", None)])
def test_an_unknown_engine_or_limit_is_not_an_empty_list(engine, max_rank):
    assert _stack(engine, max_rank).status is Status.FAILED


def test_a_rank_beyond_every_exact_number_exceeds_and_is_not_told_as_one():
    assert "r: 1" in str(_value("bounds.exceeded", r=2**60))
    assert observed("bounds.max_rank", configuration=config(r=2**60)).status is Status.FAILED


def test_what_unsloth_saves_is_strict():
    mapping = {"base_model_class": "LlamaForCausalLM", "parent_library": "transformers", "unsloth_fixed": True}
    assert observed("config.strict", configuration=config(auto_mapping=mapping, loftq_config=None)).value is True
    assert observed("config.strict", configuration=config(auto_mapping={"base_model_class": 1})).value is False
