#!/bin/sh
# Forward hooks of a PeftModel see its forward passes, and none of what it generates.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: PeftModel.generate calls the wrapped model, so that hooks registered on the PeftModel itself (guards, meters, tracing)
#   run for model(...) and not for model.generate(...). Hooks on get_base_model() run for both.
# Seen: hooks on the PeftModel: 1 call in forward, 0 in generate
#   hooks on the base model: 1 call in forward, 3 in generate
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

seen = {}
for where in ("PeftModel", "base model"):
    model = get_peft_model(base(), LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")).eval()
    calls = []
    (model if where == "PeftModel" else model.get_base_model()).register_forward_pre_hook(lambda *_: calls.append(1))
    model(tokens)
    forward = len(calls)
    model.generate(input_ids=tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=3, pad_token_id=0)
    seen[where] = forward, len(calls) - forward
    print(f"hooks on the {where}: {seen[where][0]} call in forward, {seen[where][1]} in generate")
assert seen["PeftModel"] == (1, 0) and seen["base model"][0] == 1 and seen["base model"][1] > 0
END
"$place/env/bin/python" -W ignore "$place/run.py"
