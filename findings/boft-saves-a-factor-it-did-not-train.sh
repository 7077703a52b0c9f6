#!/bin/sh
# A BOFT adapter trained without PEFT's CUDA extension says that it has more factors than it has.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: each BOFT layer that is made asks a compiler for an extension. Where none can be built, PEFT trains one factor
#   instead of the boft_n_butterfly_factor that was asked for, and saves the number asked for. A loader with the extension
#   reads another shape from the same configuration.
# Seen: the configuration says 2 factors, the saved tensor has 1; a compiler was asked for at training and again at loading
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'END'
import json
import tempfile
from pathlib import Path

import torch.utils.cpp_extension
from peft import BOFTConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from small_llama import base

asked = []


def no_compiler(**settings):
    asked.append(settings["name"])
    raise RuntimeError("as on a machine without a compiler for CUDA")


torch.utils.cpp_extension.load = no_compiler
settings = dict(boft_block_size=4, boft_n_butterfly_factor=2, target_modules=["q_proj"])
with tempfile.TemporaryDirectory() as folder:
    get_peft_model(base(), BOFTConfig(**settings)).save_pretrained(folder)
    trained = len(asked)
    PeftModel.from_pretrained(base(), folder)
    said = json.loads(Path(folder, "adapter_config.json").read_text())["boft_n_butterfly_factor"]
    has = {t.shape[0] for name, t in load_file(Path(folder, "adapter_model.safetensors")).items() if name.endswith("boft_R")}
when = "at training and again at loading" if trained and len(asked) > trained else f"{asked} times"
print(f"the configuration says {said} factors, the saved tensor has {', '.join(map(str, has))}; a compiler was asked for {when}")
assert said == 2 and has == {1} and len(asked) > trained > 0
END
