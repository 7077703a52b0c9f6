#!/bin/sh
# A negative attention mask does not hide a token: only the number 0 does.
# Versions: torch 2.13.0, transformers 5.23.0.
# Behaviour: an attention mask of two dimensions is made boolean. So -1 and 2 attend like 1. In a mask of four dimensions the same -1 is
#   a number that is added to the scores. A length that is the sum of the mask is not the number of tokens that were read.
# Seen: mask of 1: as without a mask; mask of -1: as without a mask; mask of 2: as without a mask; mask of 0: other logits
#   sums of the mask: 8, -8, 16, 0
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0
run <<'END'
import torch
from small_llama import base, tokens

model = base()
found, sums = {}, []
with torch.inference_mode():
    plain = model(tokens).logits[:, -1]
    for value in (1, -1, 2, 0):
        mask = torch.full_like(tokens, value)
        mask[:, -1] = 1  # the last token sees itself in each case
        sums.append(int(torch.full_like(tokens, value).sum()))
        found[value] = bool(torch.equal(model(tokens, attention_mask=mask).logits[:, -1], plain))
print("; ".join(f"mask of {value}: {'as without a mask' if same else 'other logits'}" for value, same in found.items()))
print("sums of the mask:", ", ".join(map(str, sums)))
assert found == {1: True, -1: True, 2: True, 0: False}
END
