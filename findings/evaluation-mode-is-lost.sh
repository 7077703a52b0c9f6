#!/bin/sh
# An adapter that add_weighted_adapter makes of a model in evaluation mode is in training mode.
# Versions: torch 2.13.0, transformers 5.23.0, peft 0.21.2.
# Behaviour: after model.eval() every module says training=False. add_weighted_adapter adds modules with training=True, dropout among
#   them: with lora_dropout the new adapter answers the same prompt differently each time, until eval() is called once more.
# Seen: after eval(): 0 modules train; after add_weighted_adapter: 6; the same prompt twice differs; after another eval() it is the same
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0 peft==0.21.2
run <<'END'
import torch
from peft import LoraConfig, get_peft_model
from small_llama import base, filled, tokens

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
