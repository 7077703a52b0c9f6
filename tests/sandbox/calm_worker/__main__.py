import contextlib
import json
import os
import socket
import sys
import time
from pathlib import Path

from peft_assay_harness.frames import read_frame, write_frame
from peft_assay_harness.zygote import Prepared, run


def prepare(options):
    base = Path(options.base)
    told = json.loads((base / "config.json").read_text("utf-8"))
    time.sleep(told.get("takes", 0))

    def answer(request):
        now = json.loads((base / "config.json").read_text("utf-8"))
        match request["op"]:
            case "load":
                plan = {"missing": [], "extra": [], "mismatched": []}
                return {"op": "load", "loaded": True, "plan": plan, "problem": None}
            case "generate":
                many = len(request["prompts"])
                return {"op": "generate", "texts": ["x"] * many, "tokens": [[1]] * many}
        match request.get("do"):
            case None:
                pass
            case "socket":
                with contextlib.suppress(PermissionError):
                    socket.socket().close()
            case "stay":
                time.sleep(3600)
            case unknown:
                os._exit(7 if unknown == "end" else 9)
        counts = [len(item.get("continuation") or [1]) for item in request["items"]]
        return {"op": "score", "logLikelihoods": [now["score"]] * len(counts), "counts": counts}

    def serve(job):
        while (request := read_frame(job.request)) is not None:
            write_frame(job.response, answer(request))

    facts = {"state": "sha256:" + "0" * 64, "parameters": 1, "stack": {}, "sentinel": True}
    return Prepared(facts | ({} if options.fresh else {"forks": told["forks"]}), serve, {})


if __name__ == "__main__":
    sys.exit(run(prepare))
