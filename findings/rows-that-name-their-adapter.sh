#!/bin/sh
# Some adapter types ignore adapter_names: the row that asks for the base gets the adapter.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: adapter_names=["__base__", "default"] gives each row of a batch its own adapter. LoRA does so. LoHa and IA3 accept the
#   argument and apply the active adapter to every row, without an error or a warning.
# Seen: LORA: the row that asks for __base__ gets the base
#   LOHA: the row that asks for __base__ gets the adapter
#   IA3: the row that asks for __base__ gets the adapter
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

from peft import IA3Config, LoHaConfig, LoraConfig, get_peft_model

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
"$place/env/bin/python" -W ignore "$place/run.py"
