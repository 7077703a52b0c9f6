#!/bin/sh
# After a call with adapter_names that failed, the next plain call still uses its names.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: adapter_names is given to LoRA's layers by hooks, which PEFT removes after the call, but not when the call raises. A server that
#   answers the error and goes on gets the failed call's names for the next prompt: here the base's answer, with an active adapter.
# Seen: the call raises ValueError and leaves 2 hooks; the next plain call gives the adapter's answer: False, the base's answer: True
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'END'
import torch
from peft import LoraConfig, get_peft_model
from small_llama import base, filled, tokens

model = filled(get_peft_model(base(), LoraConfig(r=4, target_modules=["q_proj"])))
raised = None
with torch.inference_mode():
    adapter = model(tokens).logits
    with model.disable_adapter():
        bare = model(tokens).logits
    try:
        model(torch.cat([tokens, tokens]), adapter_names=["__base__"])  # two rows, one name
    except ValueError as error:
        raised = type(error).__name__
    left = sum(len(module._forward_pre_hooks) for module in model.modules())
    after = model(tokens).logits
print(f"the call raises {raised} and leaves {left} hooks; the next plain call gives the adapter's answer: {torch.equal(after, adapter)}, "
      f"the base's answer: {torch.equal(after, bare)}")
assert raised == "ValueError" and left > 0 and torch.equal(after, bare) and not torch.allclose(after, adapter, atol=1e-3)
END
