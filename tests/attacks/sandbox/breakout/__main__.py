"""``python -m breakout``: the worker. ``python -m breakout --direct NAME GIVEN PID``: one deed without walls."""

import json
import sys

from breakout import exhaust, inside, kernel, processes, reach
from peft_assay_harness.frames import read_frame, write_frame
from peft_assay_harness.zygote import Prepared, run

DEEDS = reach.DEEDS | processes.DEEDS | kernel.DEEDS | exhaust.DEEDS | inside.DEEDS
FAILURES = (OSError, MemoryError)


def attempt(deed, *arguments):
    try:
        return {"op": "attack", "succeeded": True, "detail": str(deed(*arguments))}
    except FAILURES as error:
        return {"op": "attack", "succeeded": False, "detail": f"{type(error).__name__}: {error}"}


def prepare(options):
    """The real harness, warm with its base; an adapter whose configuration names a deed runs that deed."""
    from peft_assay_harness.prepare import prepare as prepare_harness

    prepared = prepare_harness(options)

    def serve(job):
        name = json.loads((job.files or {}).get("adapter_config.json", b"{}")).get("breakout")
        if name is None:
            prepared.serve(job)
            return
        given = read_frame(job.request)["given"]
        own = inside.OWN.get(name)
        reply = attempt(own, prepared.serve) if own is not None else attempt(DEEDS[name], given, job)
        write_frame(job.response, reply)

    return Prepared(prepared.greeting, serve)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--direct"]:
        told = json.loads(sys.argv[3]) | {"pid": int(sys.argv[4])}
        print(json.dumps(attempt(DEEDS[sys.argv[2]], told, None)), flush=True)
        sys.exit(0)
    sys.exit(run(prepare))
