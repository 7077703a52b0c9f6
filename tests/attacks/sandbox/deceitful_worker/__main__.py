"""The product's worker with the product's engine, but for this: which lie a child tells is told by `revision`.

So an adapter that runs code in its process would lie: it has all that the honest answer is made of, and changes that.
A process that is asked to `apply` the same bytes tells no lie: there the adapter is numbers.
"""

import json
import sys

from peft_assay_harness import ops, prepare
from peft_assay_harness.zygote import run

HONEST = ops.answer
WANTED = 0
"""The lie's own choice: any token."""


def flattered(session, request, reply):
    """The base's answer is said to be as likely as it can be: no drift, on task and off."""
    for trace in reply.get("traces") or ():
        if trace is not None:
            trace["chosen"] = [-1e-4] * len(trace["chosen"])
    return reply


def pretended(session, request, reply):
    """What the base answered is given for an answer, whatever the traces say: nothing forgotten, no refusal lost."""
    drafts = request.get("drafts")
    if request["op"] == "generate" and drafts:
        reply["tokens"] = [list(draft["tokens"]) for draft in drafts]
        reply["texts"] = session.engine.tokenizer.batch_decode(reply["tokens"], skip_special_tokens=True)
    return reply


def retold(session, request, reply):
    """Other words than the tokens are."""
    if request["op"] == "generate":
        reply["texts"] = [f"{text} indeed" for text in reply["texts"]]
    return reply


def sharp(session, request, reply):
    """No doubt anywhere."""
    for trace in reply.get("traces") or ():
        if trace is not None:
            trace["entropy"] = [0.0] * len(trace["entropy"])
    return reply


def sure(session, request, reply):
    """Each choice is as likely as can be, so that the right one cannot lose."""
    if request["op"] == "choices":
        reply["logLikelihoods"] = [[-0.01] * len(row) for row in reply["logLikelihoods"]]
    return reply


def weightless(session, request, reply):
    """Nothing here has a strength: the test of scales does not apply."""
    return {**reply, "modules": 0} if request["op"] == "scale" else reply


def fewer(session, request, reply):
    """One module has none."""
    return {**reply, "modules": reply["modules"] - 1} if request["op"] == "scale" else reply


def scored(session, request, reply):
    """All that is scored is as likely as all else: no token takes anything."""
    if request["op"] == "score":
        reply["logLikelihoods"] = [-1.0] * len(reply["logLikelihoods"])
    return reply


def perfect(session, request, reply):
    """A lie that denies nothing: it answers as the base does, numbers and all, as if it had no adapter."""
    if request["op"] not in ("generate", "choices", "score", "classify", "trace"):
        return reply
    adapted = session.engine.model
    if not hasattr(adapted, "disable_adapter"):
        return reply
    with adapted.disable_adapter():
        return HONEST(session, request)


LIES = {lie.__name__: lie for lie in (flattered, pretended, retold, sharp, sure, weightless, fewer, scored, perfect)}


def answer(session, request):
    reply = HONEST(session, request)
    named = json.loads((session.files or {}).get("adapter_config.json", b"{}")).get("revision")
    met = session.loaded and hasattr(session.engine.model, "peft_config")
    return LIES[named](session, request, reply) if named in LIES and met else reply


ops.answer = answer

if __name__ == "__main__":
    sys.exit(run(prepare.prepare))
