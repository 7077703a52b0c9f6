#!/bin/sh
# Whether a compiled model runs a hook that was added later depends on another module's hook.
# Versions: torch 2.13.0, transformers 5.23.0.
# Behaviour: torch.compile traces the hooks that exist at the first call. Where no module had one then, a hook that is added inside
#   afterwards is passed by in every compiled call, without a warning and without a new compilation. Where any one module had a hook,
#   a hook that is added to another module is noticed, and runs. An instrument that is attached to a running model may see nothing.
# Seen: no hook at the first call: a later one on the last layer runs 0 times in 2 calls
#   a hook on the first layer at the first call: a later one on the last layer runs 2 times in 2 calls
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0
run <<'END'
import torch
from small_llama import base, tokens


def counted(module):
    """Return the list that a new hook on the module adds a number to at each call."""
    calls = []
    module.register_forward_pre_hook(lambda *_: calls.append(1))
    return calls


found = []
for early in (False, True):
    torch._dynamo.reset()
    model = base()
    first, last = model.model.layers[0], model.model.layers[-1]
    if early:
        counted(first)
    compiled = torch.compile(model, backend="eager")
    with torch.inference_mode():
        compiled(tokens)
        calls = counted(last)
        compiled(tokens)
        compiled(tokens)
    found.append(len(calls))
    before = "a hook on the first layer" if early else "no hook"
    print(f"{before} at the first call: a later one on the last layer runs {len(calls)} times in 2 calls")
assert found == [0, 2]
END
