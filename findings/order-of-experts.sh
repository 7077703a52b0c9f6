#!/bin/sh
# A LoRA with target_parameters stores A in order of experts, and B in order of ranks.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: for E experts of rank r, lora_A has E * r rows and lora_B has E * r columns. Expert e has rows e * r to e * r + r - 1 of A, but the
#   columns e, e + E, e + 2 * E ... of B. Reading both alike gives other updates; for rank 1 there is no difference.
# Seen: update of 4 experts, off by: A by experts, B by ranks 0%; both by experts 127%; both by ranks 119%
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'END'
import torch
from peft import LoraConfig, get_peft_model
from small_llama import filled
from transformers import MixtralConfig, MixtralForCausalLM

experts, rank = 4, 2
sizes = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4)
base = MixtralForCausalLM(MixtralConfig(**sizes, num_key_value_heads=4, num_local_experts=experts))
config = LoraConfig(r=rank, lora_alpha=rank, target_parameters=["mlp.experts.down_proj"])
layer = filled(get_peft_model(base, config)).base_model.model.model.layers[0].mlp.experts
down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
update = layer.get_delta_weight("default")


def by_experts(expert):
    """Return the places of an expert's ranks where experts come first."""
    return slice(expert * rank, expert * rank + rank)


def by_ranks(expert):
    """Return the places of an expert's ranks where ranks come first."""
    return slice(expert, None, experts)


found = {}
for name, of_down, of_up in (
    ("A by experts, B by ranks", by_experts, by_ranks),
    ("both by experts", by_experts, by_experts),
    ("both by ranks", by_ranks, by_ranks),
):
    read = torch.stack([up[:, of_up(expert)] @ down[of_down(expert)] for expert in range(experts)])
    found[name] = float((update - read).norm() / update.norm())
print(f"update of {experts} experts, off by: " + "; ".join(f"{name} {part:.0%}" for name, part in found.items()))
assert found["A by experts, B by ranks"] < 1e-5 and min(found["both by experts"], found["both by ranks"]) > 0.5
END
