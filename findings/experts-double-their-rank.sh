#!/bin/sh
# A LoRA on single experts comes back from PEFT with twice the rank and half of one factor zero.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: transformers 5 keeps an expert's w1 and w3 as one tensor. PEFT fuses the two updates that were trained under transformers 4
#   into one of twice the rank, block by block; save_pretrained writes that, with another configuration: w1, w2 and w3 are gone from
#   target_modules. The answers are the same; the file cannot be read under transformers 4 any more.
# Seen: before: rank 4, 3840 numbers, 0 of them zero, target_modules w1 w2 w3
#   after: rank 8 on gate_up_proj, 5376 numbers, 1536 of them zero, target_modules none, target_parameters down_proj gate_up_proj
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'END'
import json
import tempfile
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import MixtralConfig, MixtralForCausalLM

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_local_experts": 4, "vocab_size": 64}


def base():
    torch.manual_seed(0)
    return MixtralForCausalLM(MixtralConfig(num_attention_heads=4, num_key_value_heads=2, **SIZES)).eval()


def numbers(folder):
    tensors = load_file(folder / "adapter_model.safetensors").values()
    return sum(t.numel() for t in tensors), sum(int((t == 0).sum()) for t in tensors)


before, after = Path(tempfile.mkdtemp()), Path(tempfile.mkdtemp())
tensors = {}
for expert in range(4):
    for name, takes, gives in (("w1", 32, 48), ("w2", 48, 32), ("w3", 32, 48)):
        place = f"base_model.model.model.layers.0.block_sparse_moe.experts.{expert}.{name}"
        tensors[f"{place}.lora_A.weight"] = torch.randn(4, takes)
        tensors[f"{place}.lora_B.weight"] = torch.randn(gives, 4)
save_file(tensors, before / "adapter_model.safetensors")
config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "target_modules": ["w1", "w2", "w3"]}
(before / "adapter_config.json").write_text(json.dumps(config))
loaded = PeftModel.from_pretrained(base(), before).eval()
loaded.save_pretrained(after)
said = json.loads((after / "adapter_config.json").read_text())
(rank,) = set(said["rank_pattern"].values())
count, zeros = numbers(before)
print(f"before: rank 4, {count} numbers, {zeros} of them zero, target_modules w1 w2 w3")
grown, empty = numbers(after)
targets = " ".join(sorted(said["target_parameters"]))
print(f"after: rank {rank} on gate_up_proj, {grown} numbers, {empty} of them zero, "
      f"target_modules {' '.join(said['target_modules']) or 'none'}, target_parameters {targets}")
again = PeftModel.from_pretrained(base(), after).eval()
ids = torch.arange(3, 20)[None]
with torch.no_grad():
    assert torch.equal(loaded(ids).logits, again(ids).logits)
assert rank == 8 and grown > count and zeros == 0 and empty == grown - count
END
