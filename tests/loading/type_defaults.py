"""An adapter of each PEFT type with PEFT's default settings, trained a little, on a small base that all of them fit."""

import warnings

TYPES_OF_TWO = {"MULTITASK_PROMPT_TUNING", "POLY"}
"""Types that ask which task a prompt is of: PEFT itself answers nothing without."""
OTHERS = {"XLORA"}
"""Types that are made of other adapters, which their configuration names by path."""
TARGETS = {"target_modules": ["q_proj", "v_proj"]}
NEEDED = {
    "ADALORA": {"total_step": 10},
    "ADAPTION_PROMPT": {"adapter_layers": 1, "adapter_len": 4},
    "CARTRIDGE": {"num_virtual_tokens": 4},
    "CPT": {"cpt_token_ids": [1, 2, 3, 4], "cpt_mask": [1] * 4, "cpt_tokens_type_mask": [1, 2, 2, 4]},
    "MULTITASK_PROMPT_TUNING": {"num_virtual_tokens": 4, "num_tasks": 2},
    "PREFIX_TUNING": {"num_virtual_tokens": 4},
    "PROMPT_TUNING": {"num_virtual_tokens": 4},
    "P_TUNING": {"num_virtual_tokens": 4, "encoder_hidden_size": 32},
    "TRAINABLE_TOKENS": {"token_indices": [5, 6, 7]},
    "GLORA": TARGETS,
}
"""What PEFT has no default for."""


def small_base(vocabulary=64, seed=0):
    """A base whose layers divide by the default block and vector sizes (256) of all types."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 4}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LlamaConfig(vocab_size=vocabulary, num_hidden_layers=2, max_position_embeddings=128, **sizes)
        return LlamaForCausalLM(config).eval()


def untrained(kind, base):
    """PEFT's model of that type with default settings on `base`."""
    import peft
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    config = PEFT_TYPE_TO_CONFIG_MAPPING[kind](task_type="CAUSAL_LM", **NEEDED.get(kind, {}))
    return peft.get_peft_model(base, config)


def save_trained(kind, base, folder, strength=0.05):
    """Saves an adapter of that type whose trainable numbers were moved, as PEFT saves it."""
    import torch

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(1)
        model = untrained(kind, base)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad and parameter.is_floating_point():
                    parameter.add_(torch.randn_like(parameter) * strength)
        model.save_pretrained(folder)
    return folder
