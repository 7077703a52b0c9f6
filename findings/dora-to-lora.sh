#!/bin/sh
# PEFT converts a DoRA adapter to LoRA without its magnitudes, and says that DoRA can be converted.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: supports_lora_conversion() of a model with DoRA is True. convert_to_lora() at full rank, which could hold any
#   update exactly, gives an adapter that is further from the DoRA model than the bare base is.
# Seen: supported: True; largest difference of a logit: base -> DoRA 0.36, DoRA -> converted 0.42
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'END'
import torch
from peft import LoraConfig, convert_to_lora, get_peft_model, set_peft_model_state_dict
from small_llama import base, filled, tokens

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
