#!/bin/sh
# AutoModelForCausalLM loads models that are none, and says that nothing is missing.
# Versions: torch 2.13.0, transformers 5.23.0.
# Behaviour: of a speech model (Whisper) it takes the decoder and leaves the whole encoder out, as keys that were not expected; of an encoder
#   (BertForMaskedLM) it takes all. Neither lacks a key, so that a check of missing keys passes. The encoder's first answer depends on
#   the last word of the prompt: it sees all words at each place, and cannot be used to continue a text.
# Seen: whisper: missing 0, left out 22, sees later words False; bert: missing 0, left out 0, sees later words True
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0
run <<'END'
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, BertConfig, BertForMaskedLM, WhisperConfig, WhisperForConditionalGeneration

torch.manual_seed(0)
place = Path(tempfile.mkdtemp())
layers = dict(encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2)
sizes = dict(d_model=32, encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=8, max_source_positions=20)
ids = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, max_target_positions=64)
whisper = WhisperForConditionalGeneration(WhisperConfig(vocab_size=64, **layers, **sizes, **ids))
small = dict(vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
found = {}
for name, saved in (("whisper", whisper), ("bert", BertForMaskedLM(BertConfig(**small)))):
    saved.save_pretrained(place / name)
    model, loading = AutoModelForCausalLM.from_pretrained(place / name, output_loading_info=True)
    one, other = (model.eval()(torch.tensor([[5, 6, 7, last]])).logits[0, 0] for last in (8, 9))
    found[name] = len(loading["missing_keys"]), len(loading["unexpected_keys"]), not torch.allclose(one, other)
print("; ".join(f"{n}: missing {m}, left out {u}, sees later words {sees}" for n, (m, u, sees) in found.items()))
assert found["whisper"][0] == found["bert"][0] == 0 and found["whisper"][1] > 0 and found["bert"][2]
END
