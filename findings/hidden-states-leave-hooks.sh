#!/bin/sh
# A model that has once returned hidden states can no longer be pickled.
# Versions: torch 2.13.0, transformers 5.23.0.
# Behaviour: the first call with output_hidden_states=True registers forward hooks on the model's layers, and they stay after the call.
#   They are local functions, which pickle refuses: torch.save(model) and sending the model to another process fail from then on.
#   A check that compares hooks before and after sees a change that only a question made.
# Seen: hooks: 0 before, 4 after a call with output_hidden_states=True, 4 after a plain call; pickle: works before, AttributeError after
. "$(dirname "$0")/environment.sh"
install torch==2.13.0 transformers==5.23.0
run <<'END'
import pickle

from small_llama import base, tokens

model = base()


def hooks():
    """Return the number of forward hooks on the model and all its modules."""
    return sum(len(module._forward_hooks) for module in model.modules())


def pickled():
    """Return the outcome of pickling the model."""
    try:
        pickle.dumps(model)
    except AttributeError as error:
        return type(error).__name__
    return "works"


model(tokens)
before, works = hooks(), pickled()
model(tokens, output_hidden_states=True)
after = hooks()
model(tokens)
print(f"hooks: {before} before, {after} after a call with output_hidden_states=True, {hooks()} after a plain call; "
      f"pickle: {works} before, {pickled()} after")
assert before == 0 and works == "works" and hooks() == after > 0 and pickled() == "AttributeError"
END
