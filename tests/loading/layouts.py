"""Bases with fused experts, and adapters in the layouts that PEFT saves and saved for them."""

import json

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
EXPERTS = {
    "mixtral": ("block_sparse_moe", ("w1", "w2", "w3")),
    "qwen3-moe": ("mlp", ("gate_proj", "down_proj", "up_proj")),
}
PREFIX = "base_model.model."


def fused_base(kind, vocabulary=64):
    """A base whose experts are one tensor for each kind of layer."""
    import torch
    import transformers

    sizes = {**SIZES, "vocab_size": vocabulary}

    configs = {
        "mixtral": lambda: transformers.MixtralConfig(**sizes, **HEADS, num_local_experts=4, num_experts_per_tok=2),
        "qwen3-moe": lambda: transformers.Qwen3MoeConfig(
            **sizes, **HEADS, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=48
        ),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(configs[kind]()).eval()


def drawn(shapes):
    import torch

    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


def lora(tensors, targets, **fields):
    """Configuration and weights of a LoRA of rank 4."""
    import safetensors.torch

    fixed = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8}
    return json.dumps({**fixed, "target_modules": targets, **fields}).encode(), safetensors.torch.save(tensors)


def per_expert(kind, *, without=()):
    """A LoRA as PEFT under transformers 4 saved it: two matrices for each layer of each expert."""
    block, layers = EXPERTS[kind]
    shapes = {}
    for layer in range(SIZES["num_hidden_layers"]):
        start = f"{PREFIX}model.layers.{layer}"
        shapes[f"{start}.self_attn.q_proj.lora_A.weight"] = (4, 32)
        shapes[f"{start}.self_attn.q_proj.lora_B.weight"] = (32, 4)
        for expert in range(4):
            for name in layers:
                takes, gives = (48, 32) if name in ("w2", "down_proj") else (32, 48)
                shapes[f"{start}.{block}.experts.{expert}.{name}.lora_A.weight"] = (4, takes)
                shapes[f"{start}.{block}.experts.{expert}.{name}.lora_B.weight"] = (gives, 4)
    kept = {name: shape for name, shape in shapes.items() if not any(part in name.split(".") for part in without)}
    return lora(drawn(kept), ["q_proj", *layers])


def vision_base():
    """A vision-language model whose modules were called otherwise before transformers 4.52."""
    import torch
    import transformers

    text = transformers.Gemma3TextConfig(
        **SIZES, num_attention_heads=2, num_key_value_heads=1, head_dim=16, vocab_size=64
    )
    vision = transformers.SiglipVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    images = {"image_token_index": 60, "boi_token_index": 61, "eoi_token_index": 62, "mm_tokens_per_image": 4}
    config = transformers.Gemma3Config(text_config=text.to_dict(), vision_config=vision.to_dict(), **images)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return transformers.Gemma3ForConditionalGeneration(config).eval()


def of_language_model(start):
    """A LoRA on the attention of a vision-language model's language model, whose names begin with `start`."""
    shapes = {}
    for layer in range(SIZES["num_hidden_layers"]):
        for name, gives in (("q_proj", 32), ("v_proj", 16)):
            shapes[f"{start}.{layer}.self_attn.{name}.lora_A.weight"] = (4, 32)
            shapes[f"{start}.{layer}.self_attn.{name}.lora_B.weight"] = (gives, 4)
    return lora(drawn(shapes), r".*language_model.*\.(q_proj|v_proj)")
