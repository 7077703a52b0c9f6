#!/bin/sh
# The sum of two adapters depends on which of them add_weighted_adapter is told first.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: the new adapter takes the configuration of the first one. Where that is rsLoRA and the other is not, factors are
#   combined by each adapter's own scaling and then scaled once more by alpha / sqrt(rank), and the result is not the sum.
# Seen: first plain: off by 0%; first rsLoRA: off by 183% (cat)
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'END'
from peft import LoraConfig, get_peft_model
from small_llama import base, filled


def off(first, second):
    """How far the combination is from the sum, as a part of the sum."""
    model = get_peft_model(base(), LoraConfig(r=4, lora_alpha=4, target_modules=["q_proj"], use_rslora=True), "stable")
    model.add_adapter("plain", LoraConfig(r=4, lora_alpha=4, target_modules=["q_proj"]))
    filled(model).add_weighted_adapter([first, second], [1.0, 1.0], "sum", combination_type="cat")
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    total = layer.get_delta_weight("stable") + layer.get_delta_weight("plain")
    return float((total - layer.get_delta_weight("sum")).norm() / total.norm())


plain, stable = off("plain", "stable"), off("stable", "plain")
print(f"first plain: off by {plain:.0%}; first rsLoRA: off by {stable:.0%} (cat)")
assert plain < 1e-5 and stable > 1
END
