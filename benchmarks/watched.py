"""`peft-assay` itself, run in this process with a sandbox that is watched: jobs, questions, CPU seconds, memory.

A program of its own, so that all of what it and its sandbox use can be counted from outside:
``python watched.py LOG peft-assay-arguments...``. Writes LOG as JSON; ends as the command line ends. Questions and answers are
in LOG only where ``BENCH_KEEP_ANSWERS`` is set: they would count as this process's memory.
"""

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from metering import cpu_until_now, descendants, resident_bytes

from peft_assay.cli import certify as door
from peft_assay.cli.main import run
from peft_assay.core.sandbox import Ask, Job, Result


class Watched:
    """Passes everything on to a sandbox, and notes every job."""

    def __init__(self, sandbox: Any, log: dict[str, Any]) -> None:
        self._sandbox, self._log = sandbox, log
        log["opened"] = cpu_until_now()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sandbox, name)

    def run(self, job: Job, converse: Callable[[Ask], None]) -> Result:
        asked: list[dict[str, Any]] = []

        def noting(ask: Ask) -> None:
            def ask_and_note(request: Mapping[str, Any]) -> Mapping[str, Any]:
                reply = ask(request)
                if "BENCH_KEEP_ANSWERS" in os.environ:
                    asked.append({"request": request, "reply": reply})
                return reply

            converse(ask_and_note)

        if not self._log["jobs"]:
            self._log["ready"] = cpu_until_now()
        result: Result = self._sandbox.run(job, noting)
        processes = descendants(os.getpid())
        self._log["jobs"].append(
            {
                "base": job.adapter is None,
                "outcome": result.outcome.value,
                "asked": asked,
                "cpu": cpu_until_now(),
                "supervisor": resident_bytes(os.getpid()),
                "worker": max((resident_bytes(process) for process in processes), default=0),
                "worker number": result.record.get("worker"),
            }
        )
        return result


def main() -> int:
    """Ends with the command line's own exit status."""
    log: dict[str, Any] = {"jobs": [], "workers": 0}
    opener = door.sandbox_opener

    def watched_opener(*given: Any, **more: Any) -> Callable[[Any, int], Watched]:
        open_sandbox = opener(*given, **more)
        return lambda project, adapters: Watched(open_sandbox(project, adapters), log)

    out = io.StringIO()
    with mock.patch.object(door, "sandbox_opener", watched_opener), contextlib.redirect_stdout(out):
        code = run(sys.argv[2:])
    log["code"], log["output"] = code, out.getvalue()
    Path(sys.argv[1]).write_text(json.dumps(log))
    return code


if __name__ == "__main__":
    sys.exit(main())
