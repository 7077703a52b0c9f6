"""A worker whose whole model is one number in its memory; some adapters are code that is out to change it.

What an adapter does is told by its ``lora_alpha`` alone: nothing here reads weights. All children are forked from this
memory, so whoever changes it answers for whoever comes later.
"""

import contextlib
import ctypes
import json
import math
import os
import struct
import sys

from peft_assay_harness.confine import PR_SET_DUMPABLE, prctl
from peft_assay_harness.frames import read_frame, write_frame
from peft_assay_harness.zygote import Prepared, run

MODEL = (ctypes.c_double * 1)(-1.0)
CULPRIT, ACCOMPLICE = 13, 7
STATE = "sha256:" + "0" * 64
LIKELY, LOW = math.log(0.9), math.log(0.01)


def patch_worker():
    """Writes to the memory of the process that later jobs are forked from: the same address, the parent's page."""
    with open(f"/proc/{os.getppid()}/mem", "r+b", buffering=0) as memory:  # noqa: PTH123 - the attack itself
        memory.seek(ctypes.addressof(MODEL))
        memory.write(struct.pack("d", -2.0))


def text(strength, prompt):
    """An honest adapter is right as long as the model is what it was; the accomplice gains by the change."""
    return f"answer {prompt.split()[1]}" if (MODEL[0] == -1.0) != (strength == ACCOMPLICE) else "wrong"


def tokens_of(text):
    return [10 + sum(text.encode()) % 300, 1]


def seen(own, tokens, watch):
    """Sure of its own answer as long as `tokens` follow it, and of its first token afterwards."""
    best = [own[at] if tokens[:at] == own[:at] and at < len(own) else own[0] for at in range(len(tokens))]
    likely = [[LIKELY if token == top else LOW for token in ids] for top, ids in zip(best, watch, strict=True)]
    chosen = [LIKELY if token == top else LOW for top, token in zip(best, tokens, strict=True)]
    trace = {"chosen": chosen, "best": best, "entropy": [0.6] * len(tokens), "ids": watch}
    return trace | {"logProbabilities": likely}


def answer(request, strength):
    op = request["op"]
    match op:
        case "load":
            if strength == CULPRIT:
                with contextlib.suppress(OSError):  # walls
                    patch_worker()
            plan = {"missing": [], "extra": [], "mismatched": []}
            return {"op": op, "loaded": True, "plan": plan, "problem": None}
        case "measure":
            return {"op": op, "lengths": [3] * len(request["prompts"]), "longest": None}
        case "effect":
            return {"op": op, "differs": True, "deterministic": True, "baseState": STATE, "finite": True}
        case "apply":
            return {"op": op, "applied": len(request["modules"]), "problem": None}
        case "score":
            counts = [len(item["continuation"]) for item in request["items"]]
            return {"op": op, "logLikelihoods": [MODEL[0]] * len(counts), "counts": counts}
        case "trace":
            items = request["items"]
            owned = [tokens_of(text(strength, item["prompt"])) for item in items]
            pairs = zip(owned, items, strict=True)
            return {"op": op, "traces": [seen(own, item["continuation"], item["watch"]) for own, item in pairs]}
    texts = [text(strength, prompt) for prompt in request["prompts"]]
    tokens = [tokens_of(text) for text in texts]
    reply = {"op": op, "texts": texts, "tokens": tokens}
    if request.get("margins"):
        reply["margins"] = [1.0] * len(texts)
    if request.get("certainBy"):
        reply["certain"] = texts
    drafts, top = request.get("drafts"), request.get("top", 0)
    if drafts is None:
        return reply | ({"traces": [seen(own, own, [[t] for t in own]) for own in tokens]} if top else {})
    shown = [seen(own, draft["tokens"], draft["watch"]) for own, draft in zip(tokens, drafts, strict=True)]
    return reply | {"traces": shown}


def prepare(options):
    prctl(PR_SET_DUMPABLE, 1)  # one wall less, so that the attack comes through wherever there are no others

    def serve(job):
        strength = json.loads((job.files or {}).get("adapter_config.json", b"{}")).get("lora_alpha")
        while (request := read_frame(job.request)) is not None:
            write_frame(job.response, answer(request, strength))

    return Prepared({"state": STATE, "parameters": 1, "stack": {}, "sentinel": True}, serve, {})


if __name__ == "__main__":
    sys.exit(run(prepare))
