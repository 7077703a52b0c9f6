#!/bin/sh
# PEFT converts a DoRA adapter to LoRA without its magnitudes, and says that DoRA can be converted.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: supports_lora_conversion() of a model with DoRA is True. convert_to_lora() at full rank, which could hold any
#   update exactly, gives an adapter that is further from the DoRA model than the bare base is.
# Seen: supported: True; largest difference of a logit: base -> DoRA 0.36, DoRA -> converted 0.42
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

from peft import LoraConfig, convert_to_lora, get_peft_model, set_peft_model_state_dict

model = filled(get_peft_model(base(), LoraConfig(r=4, lora_alpha=8, use_dora=True, target_modules=["q_proj", "v_proj"])))
for name, parameter in model.named_parameters():
    if "magnitude" in name:
        parameter.data.mul_(1.5)
config, state = convert_to_lora(model, rank=32)
converted = get_peft_model(base(), config)
set_peft_model_state_dict(converted, state)
with torch.inference_mode():
    before, dora, after = base()(tokens).logits, model(tokens).logits, converted.eval()(tokens).logits
moved, lost = float((dora - before).abs().max()), float((dora - after).abs().max())
print(f"supported: {model.supports_lora_conversion()}; largest difference of a logit: base -> DoRA {moved:.2f}, "
      f"DoRA -> converted {lost:.2f}")
assert model.supports_lora_conversion() and lost > moved
END
"$place/env/bin/python" -W ignore "$place/run.py"
