"""Attacks in adapter_config.json that stay inside PEFT: what the base's weights, or memory and time, pay for."""

import json
from pathlib import Path

from attacks.adapter.museum import (
    CONFIG,
    TOLD,
    Exhibit,
    base,
    edit_config,
    edit_tensors,
    load_plainly,
    loads_silently,
    logits,
    resave,
)

PISSA = "https://github.com/huggingface/peft/issues/2184"
UNKNOWN_FIELDS = "https://github.com/huggingface/peft/issues/2275"
REDOS = "https://owasp.org/www-community/attacks/Regular_expression_Denial_of_Service_-_ReDoS"


def build_pissa(folder: Path) -> None:
    edit_config(folder, init_lora_weights="pissa")


def build_olora(folder: Path) -> None:
    edit_config(folder, init_lora_weights="olora")


def rewrites_the_base(folder: Path) -> None:
    import torch

    model = base()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loaded, said = load_plainly(folder, model)
    assert said == []
    after = loaded.unload().state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])]


def is_warned_of(folder: Path) -> None:
    assert load_plainly(folder)[1] != []


def build_corda(folder: Path) -> None:
    edit_config(folder, init_lora_weights="corda")


def is_not_loaded(folder: Path) -> None:
    try:
        load_plainly(folder)
    except (ValueError, KeyError, RuntimeError, ImportError, TypeError, OSError):
        return
    raise AssertionError("it was loaded")


def build_loftq(folder: Path) -> None:
    edit_config(folder, init_lora_weights="loftq", loftq_config={"loftq_bits": 4})


def build_layer_replication(folder: Path) -> None:
    edit_config(folder, layer_replication=[[0, 1]] * 50)


def changes_the_shared_configuration(folder: Path) -> None:
    model = base()
    shared = model.config
    try:
        load_plainly(folder, model)
    finally:
        assert shared.num_hidden_layers == 50


def build_invocation_tokens(folder: Path) -> None:
    resave(folder, alora_invocation_tokens=[7, 8])


def sleeps_until_the_tokens_come(folder: Path) -> None:
    import torch

    model, said = load_plainly(folder)
    assert said == []
    asleep, awake = (1, 2, 3, 4), (1, 7, 8, 4)
    assert torch.equal(logits(model, *asleep, alora_offsets=[None]), logits(base(), *asleep))
    assert not torch.equal(logits(model, *awake, alora_offsets=[2]), logits(base(), *awake))


def build_arrow(folder: Path) -> None:
    edit_config(folder, arrow_config={"top_k": 1})


def build_saved_head(folder: Path) -> None:
    resave(folder, modules_to_save=["lm_head", "embed_tokens"])


def replaces_the_head(folder: Path) -> None:
    import torch

    model, said = load_plainly(folder)
    assert said == []
    head = model.base_model.model.lm_head
    assert not torch.equal(head.modules_to_save["default"].weight, base().lm_head.weight)


def build_token_rows(folder: Path) -> None:
    resave(folder, trainable_token_indices=[5])


def replaces_what_a_token_means(folder: Path) -> None:
    import torch

    model, said = load_plainly(folder)
    assert said == []
    embedding = model.get_input_embeddings()
    assert not torch.equal(embedding(torch.tensor([5])), base().get_input_embeddings()(torch.tensor([5])))


def build_target_parameters(folder: Path) -> None:
    resave(folder, target_parameters=["mlp.up_proj.weight"])


def build_all_biases(folder: Path) -> None:
    edit_config(folder, bias="all")


def build_first_pattern_wins(folder: Path) -> None:
    """`lora_alpha / r` says 2, and so does the pattern that looks as if it were about the module."""
    edit_config(folder, lora_alpha=8, alpha_pattern={"q_pro.": 200, "q_proj": 8})


def build_pattern_of_one_module(folder: Path) -> None:
    edit_config(folder, lora_alpha=8, alpha_pattern={"layers.0.self_attn.q_proj": 120})


def build_root_of_a_rank(folder: Path) -> None:
    edit_config(folder, lora_alpha=80, use_rslora=True)


def build_rank_in_two_patterns(folder: Path) -> None:
    resave(folder, rank_pattern={"layers.0.self_attn.q_proj": 1, "q_proj": 16}, lora_alpha=8)


def build_lengthened_by_dora(folder: Path) -> None:
    resave(folder, use_dora=True)
    edit_tensors(
        folder,
        lambda tensors: tensors.update(
            {name: tensor * 50 for name, tensor in tensors.items() if "lora_magnitude_vector" in name}
        ),
    )


def adapted(model):
    """Layers that PEFT put on; attention has a `scaling` of its own."""
    return [module for module in model.modules() if isinstance(getattr(module, "scaling", None), dict)]


def is_stronger_than_it_says(folder: Path) -> None:
    loaded, said = load_plainly(folder)
    assert said == []
    scales = [module.scaling["default"] for module in adapted(loaded)]
    declared = json.loads((folder / CONFIG).read_text())
    assert max(scales) > 12 * declared["lora_alpha"] / declared["r"]


def has_one_of_two_ranks(folder: Path) -> None:
    loaded, said = load_plainly(folder)
    assert said == []
    assert sorted({module.r["default"] for module in adapted(loaded)}) == [1, 4]


def is_lengthened(folder: Path) -> None:
    import torch

    loaded, said = load_plainly(folder)
    assert said == []
    before = dict(base().named_parameters())["model.layers.0.self_attn.q_proj.weight"]
    after = dict(loaded.merge_and_unload().named_parameters())["model.layers.0.self_attn.q_proj.weight"]
    assert torch.linalg.norm(after) > 40 * torch.linalg.norm(before)


def build_giant_rank(folder: Path) -> None:
    edit_config(folder, rank_pattern={"q_proj": 500_000})


def allocates_before_it_compares(folder: Path) -> None:
    try:
        load_plainly(folder)
    except RuntimeError as error:
        assert "500000" in str(error)  # the shape of a tensor that was made
    else:
        raise AssertionError("it was loaded")


def build_rank_of_nothing(folder: Path) -> None:
    edit_config(folder, r=0)


def build_alpha_out_of_proportion(folder: Path) -> None:
    edit_config(folder, lora_alpha=10**30)


def build_negative_alpha(folder: Path) -> None:
    edit_config(folder, lora_alpha=-8)


def build_alpha_in_a_pattern(folder: Path) -> None:
    edit_config(folder, alpha_pattern={"q_proj": 10**9})


BOUNDED = "(.|.){0,9}(.|.){0,9}x"
"""A million ways to fail on one name, and no more: a harmless stand-in for patterns that never end."""


def build_a_pattern_of_choices(folder: Path) -> None:
    edit_config(folder, target_modules=rf".*\.(q|v)_proj|{BOUNDED}")


def build_a_pattern_of_many_repetitions(folder: Path) -> None:
    edit_config(folder, target_modules=r".*\.(q|v)_proj|.*.*.*.*x")


def build_a_key_of_choices(folder: Path) -> None:
    edit_config(folder, alpha_pattern={f"q_proj|{BOUNDED}": 4})


def build_a_pattern_of_modules_to_leave_out(folder: Path) -> None:
    edit_config(folder, exclude_modules=BOUNDED)


def build_one_key_twice(folder: Path) -> None:
    path = folder / CONFIG
    path.write_text(path.read_text("utf-8").rstrip()[:-1] + ', "lora_alpha": 800, "base_model_name_or_path": "e/b"}')


def takes_the_last_value(folder: Path) -> None:
    model, said = load_plainly(folder)
    assert said == []
    config = model.peft_config["default"]
    assert (config.lora_alpha, config.base_model_name_or_path) == (800, "e/b")


def build_unknown_field(folder: Path) -> None:
    edit_config(folder, use_everything=True)


def build_later_peft_version(folder: Path) -> None:
    edit_config(folder, peft_version="99.0.0")


def build_unknown_type(folder: Path) -> None:
    edit_config(folder, peft_type="EVILORA")


def build_target_that_is_nowhere(folder: Path) -> None:
    edit_config(folder, target_modules=["q_proj", "v_proj", "not_there"])


REACH, BOUNDS, REWRITE = "reach.full_weights", "bounds.exceeded", "config.base_rewrites"
EXHIBITS = (
    Exhibit(
        "0.2", build_pissa, "decomposes the base's weights and writes the rest back", "base-rewrite",
        {REWRITE: ("init_lora_weights=pissa",)}, rewrites_the_base, silent=True, advisory=(PISSA,),
    ),
    Exhibit(
        "0.2", build_olora, "the same, in place", "base-rewrite", {REWRITE: ("init_lora_weights=olora",)},
        rewrites_the_base, silent=True, advisory=(PISSA,),
    ),
    Exhibit("2.11", build_corda, "ValueError", "base-rewrite", {REWRITE: ("init_lora_weights=corda",)}, is_not_loaded),
    Exhibit(
        "2.11", build_loftq, "an error where its parts are not installed", "base-rewrite",
        {REWRITE: ("init_lora_weights=loftq",)},
    ),
    Exhibit(
        "2.18", build_layer_replication, "rebuilds the decoder and edits the configuration that others share",
        "base-rewrite", {REWRITE: ("layer_replication",)}, changes_the_shared_configuration, silent=True,
    ),
    Exhibit(
        "0.4", build_invocation_tokens, "answers as the base until the tokens come", "conditional",
        {"config.conditional": ("alora_invocation_tokens",)}, sleeps_until_the_tokens_come, silent=True,
    ),
    Exhibit(
        "2.12", build_arrow, "the caller names the paths of the experts, not the adapter", "conditional",
        {"config.conditional": ("arrow_config",)},
    ),
    Exhibit(
        "2.13", build_saved_head, "replaces head and embeddings in full", "reach",
        {REACH: ("lm_head", "embed_tokens")}, replaces_the_head, silent=True,
        advisory=("https://github.com/vllm-project/vllm/issues/9280",),
    ),
    Exhibit(
        "2.15", build_token_rows, "gives a token another meaning", "reach",
        {REACH: ("token rows (trainable_token_indices)",)}, replaces_what_a_token_means, silent=True,
    ),
    Exhibit(
        "2.17", build_target_parameters, "adapts a parameter inside a module", TOLD,
        {"config.unusual": "target_parameters"}, loads_silently, silent=True,
    ),
    Exhibit(
        "2.19", build_all_biases, "taken; disabling the adapter does not restore biases", "reach",
        {REACH: ("bias=all",)}, loads_silently, silent=True,
    ),
    Exhibit(
        "0.6", build_giant_rank, "allocates half a million rows, then compares shapes", "bounds",
        {BOUNDS: "500000 is not in 1..512"}, allocates_before_it_compares,
    ),
    Exhibit("2.20", build_rank_of_nothing, "ValueError", "bounds", {BOUNDS: "r: 0 is not in 1..512"}, is_not_loaded),
    Exhibit(
        "2.22", build_alpha_out_of_proportion, "taken", "bounds", {BOUNDS: "lora_alpha"}, loads_silently, silent=True
    ),
    Exhibit("2.22", build_negative_alpha, "taken", "bounds", {BOUNDS: "lora_alpha"}, loads_silently, silent=True),
    Exhibit(
        "2.22", build_alpha_in_a_pattern, "taken", "bounds", {BOUNDS: "alpha_pattern.q_proj"}, loads_silently,
        silent=True,
    ),
    Exhibit(
        "2.37", build_first_pattern_wins, "the first pattern that matches: 50 where 2 is declared", "strength",
        {"strength.largest": 50.0, "strength.beyond_declared": 25.0, "strength.overlaps": "says 200"},
        is_stronger_than_it_says, silent=True,
    ),
    Exhibit(
        "2.37", build_pattern_of_one_module, "one module 15 times as strong as declared", "strength",
        {"strength.largest": 30.0, "strength.beyond_declared": 15.0, "strength.overlaps": ()},
        is_stronger_than_it_says, silent=True,
    ),
    Exhibit(
        "2.37", build_root_of_a_rank, "divides by the root of the rank", "strength",
        {"strength.relative": 40.0, "strength.beyond_declared": 1.0}, loads_silently, silent=True,
    ),
    Exhibit(
        "2.37", build_rank_in_two_patterns, "the first pattern that matches", "strength",
        {"strength.overlaps": "rank_pattern"}, has_one_of_two_ranks, silent=True,
    ),
    Exhibit(
        "2.37", build_lengthened_by_dora, "replaces the length of every row of the base's weight", "strength",
        {"strength.magnitude": "model.layers.0.self_attn"}, is_lengthened, silent=True,
    ),
    Exhibit(
        "0.6", build_a_pattern_of_choices, "matches it against every module's name, however many ways there are", "plan",
        {"config.unsafe_patterns": "target_modules: the pattern"}, loads_silently, silent=True, advisory=(REDOS,),
    ),
    Exhibit(
        "0.6", build_a_pattern_of_many_repetitions, "matches it against every module's name, however many ways there are", "plan",
        {"config.unsafe_patterns": "target_modules: the pattern"}, loads_silently, silent=True, advisory=(REDOS,),
    ),
    Exhibit(
        "0.6", build_a_key_of_choices, "matches it against every module's name, however many ways there are", "plan",
        {"config.unsafe_patterns": "alpha_pattern key: the pattern"}, loads_silently, silent=True, advisory=(REDOS,),
    ),
    Exhibit(
        "0.6", build_a_pattern_of_modules_to_leave_out, "the same, and a warning where it leaves out nothing", "plan",
        {"config.unsafe_patterns": "exclude_modules: the pattern"}, is_warned_of, advisory=(REDOS,),
    ),
    Exhibit(
        "2.25", build_one_key_twice, "takes the last of both", "config", {"config.strict": False},
        takes_the_last_value, silent=True,
    ),
    Exhibit(
        "2.26", build_unknown_field, "a warning, and goes on without it", "config", {"config.strict": False},
        is_warned_of, advisory=(UNKNOWN_FIELDS,),
    ),
    Exhibit(
        "2.26", build_later_peft_version, "not compared with the version installed", "dependencies",
        {"stack.unmet": "peft>=99.0.0"}, loads_silently, silent=True, advisory=(UNKNOWN_FIELDS,),
    ),
    Exhibit("2.27", build_unknown_type, "KeyError", "config", {"config.strict": False}, is_not_loaded),
    Exhibit(
        "0.7", build_target_that_is_nowhere, "adapts the modules that exist", TOLD,
        {"config.unusual": "not_there"}, loads_silently, silent=True,
    ),
)  # fmt: skip
