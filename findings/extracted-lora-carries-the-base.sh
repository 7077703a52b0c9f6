#!/bin/sh
# mergekit-extract-lora saves what did not change: embeddings, norms and head of the base, in full.
# Versions: torch 2.13.0, transformers 5.12.1, mergekit 0.1.4.
# Behaviour: where only q_proj and v_proj differ from the base, the extracted adapter still names embed_tokens, lm_head and every norm in modules_to_save
#   and holds them in full, equal to the base's to the last bit. PEFT puts these copies in the place of the base's own modules, and a server
#   of adapters without support for modules_to_save refuses the file.
# Seen: modules_to_save: embed_tokens, input_layernorm, lm_head, norm, post_attention_layernorm; 7 of 7 tensors equal to the base's
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.12.1 mergekit==0.1.4
run <<'END'
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from small_llama import base

folder = Path(tempfile.mkdtemp())
base().save_pretrained(folder / "base")
tuned, source = base(), torch.Generator().manual_seed(2)
for name, parameter in tuned.named_parameters():
    if "q_proj" in name or "v_proj" in name:
        parameter.data += 0.01 * torch.randn(32, 2, generator=source) @ torch.randn(2, 32, generator=source)
tuned.save_pretrained(folder / "tuned")
command = [Path(sys.executable).parent / "mergekit-extract-lora", f"--model={folder / 'tuned'}"]
command += [f"--base-model={folder / 'base'}", f"--out-path={folder / 'adapter'}", "--max-rank=2"]
subprocess.run(command, check=True, capture_output=True)
saved = json.loads((folder / "adapter/adapter_config.json").read_text())["modules_to_save"]
own = load_file(folder / "base/model.safetensors")
whole = {name: tensor for name, tensor in load_file(folder / "adapter/adapter_model.safetensors").items() if "lora" not in name}
equal = [name for name, tensor in whole.items() if torch.equal(tensor, own[name.removeprefix("base_model.model.")])]
print(f"modules_to_save: {', '.join(sorted(saved))}; {len(equal)} of {len(whole)} tensors equal to the base's")
assert len(equal) == len(whole) == 7
END
