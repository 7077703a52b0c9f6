#!/bin/sh
# A model of bitsandbytes that was dequantised cannot be written by save_pretrained, unless another form is asked for.
# Versions: torch 2.13.0, transformers 5.23.0, bitsandbytes 0.50.2, accelerate 1.15.0.
# Behaviour: dequantize() gives a model of ordinary layers, which answers as before. save_pretrained then tries to reverse the operations by which
#   the checkpoint was loaded, and raises NotImplementedError without a message. With save_original_format=False it writes the ordinary weights.
# Seen: as it is: NotImplementedError; with save_original_format=False: answers differ by 0.0
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0 bitsandbytes==0.50.2 accelerate==1.15.0
run <<'END'
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

place = Path(tempfile.mkdtemp())
sizes = dict(vocab_size=64, hidden_size=128, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4)
LlamaForCausalLM(LlamaConfig(**sizes)).save_pretrained(place / "base")
quantised = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
AutoModelForCausalLM.from_pretrained(place / "base", quantization_config=quantised).save_pretrained(place / "small")
model = AutoModelForCausalLM.from_pretrained(place / "small", dtype=torch.float32).dequantize()
tokens = torch.tensor([[1, 2, 3, 4]])
before = model(tokens).logits
found = "saved"
try:
    model.save_pretrained(place / "as-it-is")
except NotImplementedError as error:
    found = type(error).__name__
    assert not str(error)
model.save_pretrained(place / "plain", save_original_format=False)
again = AutoModelForCausalLM.from_pretrained(place / "plain", dtype=torch.float32)
apart = float((again(tokens).logits - before).detach().abs().max())
print(f"as it is: {found}; with save_original_format=False: answers differ by {apart}")
assert found == "NotImplementedError" and apart == 0
END
