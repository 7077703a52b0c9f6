"""A worker whose model is one rule; adapters whose ``lora_alpha`` says so answer with a lie of `lies.LIES`.

It stands for an adapter with code execution: nothing here tries to leave the walls, all of it is said in replies.
"""

import json
import sys

from lying_worker.honest import PLACES, STATE, VOCABULARY, answer
from lying_worker.lies import lie
from peft_assay_harness.frames import read_frame, write_frame
from peft_assay_harness.zygote import Prepared, run

FIRST_LIE = 1000


def prepare(_):
    def serve(job):
        strength = json.loads((job.files or {}).get("adapter_config.json", b"{}")).get("lora_alpha", 0)
        while (request := read_frame(job.request)) is not None:
            honest = answer(request)
            told = lie(honest, strength - FIRST_LIE) if strength >= FIRST_LIE else honest
            write_frame(job.response, told)

    sizes = {"vocabulary": VOCABULARY, "places": PLACES}
    return Prepared({"state": STATE, "parameters": 1, "stack": {}, "sentinel": True, **sizes}, serve, {})


if __name__ == "__main__":
    sys.exit(run(prepare))
