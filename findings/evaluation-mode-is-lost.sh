#!/bin/sh
# An adapter that add_weighted_adapter makes of a model in evaluation mode is in training mode.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: after model.eval() every module says training=False. add_weighted_adapter adds modules with training=True, dropout among
#   them: with lora_dropout the new adapter answers the same prompt differently each time, until eval() is called once more.
# Seen: after eval(): 0 modules train; after add_weighted_adapter: 6; the same prompt twice differs; after another eval() it is the same
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

from peft import LoraConfig, get_peft_model

settings = dict(r=4, lora_alpha=4, target_modules=["q_proj"], lora_dropout=0.5)
model = get_peft_model(base(), LoraConfig(**settings))
model.add_adapter("second", LoraConfig(**settings))
filled(model)


def training():
    """Modules in training mode."""
    return sum(module.training for module in model.modules())


before = training()
model.add_weighted_adapter(["default", "second"], [1.0, 1.0], "sum", combination_type="cat")
model.set_adapter("sum")
after = training()
with torch.inference_mode():
    same = bool(torch.equal(model(tokens).logits, model(tokens).logits))
    same_again = bool(torch.equal(model.eval()(tokens).logits, model(tokens).logits))
print(f"after eval(): {before} modules train; after add_weighted_adapter: {after}; the same prompt twice "
      f"{'is the same' if same else 'differs'}; after another eval() it {'is the same' if same_again else 'differs'}")
assert before == 0 and after > 0 and not same and same_again
END
"$place/env/bin/python" -W ignore "$place/run.py"
