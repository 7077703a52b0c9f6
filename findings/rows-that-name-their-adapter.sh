#!/bin/sh
# Some adapter types ignore adapter_names: the row that asks for the base gets the adapter.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: adapter_names=["__base__", "default"] gives each row of a batch its own adapter. LoRA does so. LoHa and IA3 accept the
#   argument and apply the active adapter to every row, without an error or a warning.
# Seen: LORA: the row that asks for __base__ gets the base
#   LOHA: the row that asks for __base__ gets the adapter
#   IA3: the row that asks for __base__ gets the adapter
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'END'
import torch
from peft import IA3Config, LoHaConfig, LoraConfig, get_peft_model
from small_llama import base, filled, tokens

found = {}
for config in (
    LoraConfig(r=4, target_modules=["q_proj"]),
    LoHaConfig(r=4, target_modules=["q_proj"]),
    IA3Config(target_modules=["q_proj"], feedforward_modules=[]),
):
    model = filled(get_peft_model(base(), config))
    with torch.inference_mode():
        rows = model(torch.cat([tokens, tokens]), adapter_names=["__base__", "default"]).logits
        with model.disable_adapter():
            bare = model(tokens).logits[0]
    found[config.peft_type.value] = bool(torch.allclose(rows[0], bare, atol=1e-5))
    print(f"{config.peft_type.value}: the row that asks for __base__ gets {'the base' if found[config.peft_type.value] else 'the adapter'}")
assert found == {"LORA": True, "LOHA": False, "IA3": False}
END
