#!/bin/sh
# The sum of two adapters depends on which of them add_weighted_adapter is told first.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: the new adapter takes the configuration of the first one. Where that is rsLoRA and the other is not, factors are
#   combined by each adapter's own scaling and then scaled once more by alpha / sqrt(rank), and the result is not the sum.
# Seen: first plain: off by 0%; first rsLoRA: off by 183% (cat)
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/env"
"$place/env/bin/python" -m pip install -q torch==2.13.0 transformers==5.23.0 peft==0.21.2
cat > "$place/run.py" <<'END'
import torch
from transformers import LlamaConfig, LlamaForCausalLM, logging

logging.set_verbosity_error()
torch.manual_seed(0)
torch.set_num_threads(1)


def base(**more):
    """A small untrained Llama, always the same."""
    torch.manual_seed(1)
    sizes = dict(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    return LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=4, **more)).eval()


def filled(model):
    """The model with factors as after training: no longer zero."""
    source = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if "lora_" in name or "hada_" in name or "ia3_" in name:
            parameter.data.normal_(0, 0.2, generator=source)
    return model.eval()


tokens = torch.arange(3, 11)[None]

from peft import LoraConfig, get_peft_model


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
"$place/env/bin/python" -W ignore "$place/run.py"
