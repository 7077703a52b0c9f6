#!/bin/sh
# safetensors refuses the state dict that PEFT returns for LILY.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2, safetensors 0.8.0.
# Behaviour: layers of a LILY adapter share factors. get_peft_model_state_dict returns them once for each layer in the same memory, and
#   safetensors.torch.save raises. save_pretrained copies them: the file holds the shared factors once for each layer.
# Seen: 6 tensors in 4 places of memory; safetensors.torch.save: RuntimeError; save_pretrained: 6 tensors
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0 peft==0.21.2 safetensors==0.8.0
run <<'END'
import pathlib
import tempfile

from peft import LilyConfig, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save
from small_llama import base

model = get_peft_model(base(), LilyConfig(r=4, target_modules=["q_proj"], stride_A=2, num_B=2))
state = get_peft_model_state_dict(model)
places = {tensor.data_ptr() for tensor in state.values()}
outcome = "works"
try:
    save(state)
except RuntimeError as error:
    assert "share memory" in str(error)
    outcome = type(error).__name__
folder = pathlib.Path(tempfile.mkdtemp(dir=pathlib.Path(__file__).parent))
model.save_pretrained(folder)
saved = load_file(folder / "adapter_model.safetensors")
print(f"{len(state)} tensors in {len(places)} places of memory; safetensors.torch.save: {outcome}; save_pretrained: {len(saved)} tensors")
assert len(places) < len(state) == len(saved) and outcome == "RuntimeError"
END
