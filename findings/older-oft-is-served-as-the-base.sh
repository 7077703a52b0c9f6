#!/bin/sh
# PEFT serves the bare base for an OFT adapter that PEFT 0.15 wrote.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2; the adapter has the configuration, names and shapes of peft 0.15.2.
# Behaviour: PEFT 0.16 replaced OFT's tensors oft_r and oft_s by oft_R. from_pretrained leaves the old ones out, keeps its
#   own of zero, and returns a model that answers as the base does; a warning names missing keys, and nothing is raised.
# Seen: loaded without an error, 4 keys missing in 1 warning; largest difference of a logit from the base 0.0
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'END'
import json
import tempfile
import warnings
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import save_file
from small_llama import base, tokens

config = {"peft_type": "OFT", "oft_block_size": 8, "r": 0, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}
tensors = {}
for layer in range(2):
    for module in config["target_modules"]:
        name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
        tensors |= {f"{name}.oft_r": torch.randn(4, 8, 8), f"{name}.oft_s": torch.rand(32, 1) + 0.5}
with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    Path(folder, "adapter_config.json").write_text(json.dumps(config))
    save_file(tensors, Path(folder, "adapter_model.safetensors"))
    model = PeftModel.from_pretrained(base(), folder).eval()
    lines = [str(one.message) for one in told if "missing" in str(one.message)]
with torch.no_grad():
    away = float((model(tokens).logits - base()(tokens).logits).abs().max())
keys = sum(line.count("oft_R") for line in lines)
print(f"loaded without an error, {keys} keys missing in {len(lines)} warning; largest difference of a logit from the base {away}")
assert away == 0 and len(lines) == 1
END
