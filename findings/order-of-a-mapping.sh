#!/bin/sh
# The order of keys in adapter_config.json decides how strongly a module is adapted.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: alpha_pattern is a JSON object, whose members have no order. PEFT takes the first pattern that matches a module, so the
#   same object written in another order (as a formatter that sorts keys does) is another adapter.
# Seen: alpha_pattern as written: layer 1 is scaled by 20.0
#   alpha_pattern sorted: layer 1 is scaled by 2.0
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

import json
import pathlib
import tempfile

from peft import LoraConfig, PeftModel, get_peft_model

patterns = {"layers.1.self_attn.q_proj": 80, r"[a-z]*.*q_proj": 8}
model = filled(get_peft_model(base(), LoraConfig(r=4, lora_alpha=4, target_modules=["q_proj"], alpha_pattern=patterns)))
folder = pathlib.Path(tempfile.mkdtemp(dir=pathlib.Path(__file__).parent))
model.save_pretrained(folder)
file = folder / "adapter_config.json"
document = json.loads(file.read_text())
scaling = {}
for order in ("as written", "sorted"):
    document["alpha_pattern"] = dict(sorted(patterns.items())) if order == "sorted" else patterns
    file.write_text(json.dumps(document))
    loaded = PeftModel.from_pretrained(base(), folder)
    scaling[order] = loaded.base_model.model.model.layers[1].self_attn.q_proj.scaling["default"]
    print(f"alpha_pattern {order}: layer 1 is scaled by {scaling[order]}")
assert scaling == {"as written": 20.0, "sorted": 2.0}
END
"$place/env/bin/python" -W ignore "$place/run.py"
