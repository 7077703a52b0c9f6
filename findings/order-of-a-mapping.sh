#!/bin/sh
# The order of keys in adapter_config.json decides how strongly a module is adapted.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: alpha_pattern is a JSON object, whose members have no order. PEFT takes the first pattern that matches a module, so the
#   same object written in another order (as a formatter that sorts keys does) is another adapter.
# Seen: alpha_pattern as written: layer 1 is scaled by 20.0
#   alpha_pattern sorted: layer 1 is scaled by 2.0
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'END'
import json
import pathlib
import tempfile

from peft import LoraConfig, PeftModel, get_peft_model
from small_llama import base, filled

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
