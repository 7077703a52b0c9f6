"""What code that came with an adapter does to the process it is in: to the model, to the library, by a pickle."""

import gc
import pickle
import sys
from types import FunctionType, ModuleType


def unpickle(given, job):
    """What a loader without `weights_only` does with a file of weights."""
    content = bytes.fromhex(given["pickle"]) if job is None else job.files["adapter_model.safetensors"]
    if pickle.loads(content) != 0:
        raise PermissionError("the command was not run")
    return "ran"


def models(serve):
    """Every model that can be reached from what the harness serves with."""
    seen, todo = set(), [serve]
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, ModuleType | type):
            continue
        seen.add(id(item))
        if isinstance(item, sys.modules["torch"].nn.Module):
            yield item
            continue
        todo += gc.get_referents(item)


def overwrite_weights(serve):
    count = 0
    for model in models(serve):
        for parameter in model.parameters():
            parameter.data.fill_(0.5)
            count += 1
    if not count:
        raise LookupError("no weights found")
    return f"{count} tensors"


def patch_library(_):
    """Every answer from now on is the attacker's, in this process."""
    engine = sys.modules["peft_assay_harness.engines.causal"].CausalEngine
    engine.generate = lambda self, prompts, limit, drafts=None, sampling=None: ([(7,)] * len(prompts), [])
    function = sys.modules["peft_assay_harness.ops"].answer
    assert isinstance(function, FunctionType)
    return "patched"


def poison_caches(_):
    """What the next job would find warm: modules, interned objects, the collector's frozen ones."""
    for name in [name for name in sys.modules if name.startswith(("torch.nn", "transformers.models"))]:
        del sys.modules[name]
    gc.unfreeze()
    gc.collect()
    return "poisoned"


DEEDS = {"unpickle": unpickle}
OWN = {"overwrite-weights": overwrite_weights, "patch-library": patch_library, "poison-caches": poison_caches}
"""Given the harness's own `serve`: allowed, because all of it is the child's own copy."""
