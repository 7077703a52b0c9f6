#!/bin/sh
# Forward hooks of a PeftModel see its forward passes, and none of what it generates.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: PeftModel.generate calls the wrapped model, so that hooks registered on the PeftModel itself (guards, meters, tracing)
#   run for model(...) and not for model.generate(...). Hooks on get_base_model() run for both.
# Seen: hooks on the PeftModel: 1 call in forward, 0 in generate
#   hooks on the base model: 1 call in forward, 3 in generate
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'END'
import torch
from peft import LoraConfig, get_peft_model
from small_llama import base, tokens

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
