#!/bin/sh
# AdaLoRA accepts alpha_pattern and use_rslora, and ignores both.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: AdaLoraConfig inherits the fields of LoraConfig. LoRA multiplies its update by what alpha_pattern and use_rslora say;
#   AdaLoRA multiplies by lora_alpha / init_r in each module, without an error or a warning.
# Seen: LORA: plain 2, alpha_pattern 20, use_rslora 4
#   ADALORA: plain 2, alpha_pattern 2, use_rslora 2
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'END'
from peft import AdaLoraConfig, LoraConfig, get_peft_model
from small_llama import base, filled


def strength(config):
    """Return the number that the product of a module's factors is multiplied by."""
    layer = filled(get_peft_model(base(), config)).base_model.model.model.layers[0].self_attn.q_proj
    down, up = (getattr(part["default"], "weight", part["default"]) for part in (layer.lora_A, layer.lora_B))
    if config.peft_type == "ADALORA":
        down = down * layer.lora_E["default"]
    return round(float(layer.get_delta_weight("default").norm() / (up @ down).norm()), 3)


kinds = {
    "LORA": (LoraConfig, {"r": 4}),
    "ADALORA": (AdaLoraConfig, {"init_r": 4, "target_r": 2, "tinit": 1, "tfinal": 1, "total_step": 9}),
}
settings = {"plain": {}, "alpha_pattern": {"alpha_pattern": {"q_proj": 80}}, "use_rslora": {"use_rslora": True}}
found = {}
for kind, (config, ranks) in kinds.items():
    found[kind] = [strength(config(lora_alpha=8, target_modules=["q_proj"], **ranks, **more)) for more in settings.values()]
    print(f"{kind}: " + ", ".join(f"{name} {number:g}" for name, number in zip(settings, found[kind])))
assert found == {"LORA": [2, 20, 4], "ADALORA": [2, 2, 2]}
END
