"""Runs every attack behind one backend's walls and without any, and writes what became of each as JSON.

``HF_TOKEN=... python attack_matrix.py BACKEND BASE ADAPTER FOLDER``: a program of its own, so that whoever is to be attacked as
(root, a plain user, somebody without user namespaces) can run it. After each attack a benign job follows, on the same
worker wherever the attack's own job ended by itself; its tokens must be those from before.
"""

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyseccomp

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parents[2] / "src"
sys.path[:0] = [str(HERE), str(SOURCES)]

from attack_bait import CALLS, Bait  # noqa: E402
from attack_catalogue import ATTACKS, Attack  # noqa: E402
from attack_files import lying  # noqa: E402

from peft_assay.core.errors import DocumentError  # noqa: E402
from peft_assay.core.parse import parse_json  # noqa: E402
from peft_assay.core.sandbox import Ask, Job, Limits, Outcome, Result  # noqa: E402
from peft_assay.sandbox.choose import BACKENDS, open_sandbox  # noqa: E402
from peft_assay.sandbox.conversation import Conversation  # noqa: E402
from peft_assay.sandbox.interface import Program, SandboxConfiguration  # noqa: E402
from peft_assay.sandbox.replies import read_reply  # noqa: E402
from peft_assay.sandbox.surroundings import harness_program, mounts_for  # noqa: E402
from peft_assay.sandbox.worker import Worker  # noqa: E402

LIMITS = Limits(wall_seconds=30.0, cpu_seconds=20, memory_bytes=128 << 20, output_bytes=1 << 20)
BENIGN = Limits(wall_seconds=60.0, cpu_seconds=60)
LIARS = Limits(wall_seconds=4.0, cpu_seconds=4, memory_bytes=512 << 20)
QUESTIONS = (
    {"op": "load"},
    {"op": "generate", "prompts": ["user : hello", "hello"], "maxNewTokens": 6},
    {"op": "score", "items": [{"prompt": "user : hello", "continuation": [5, 9, 2]}]},
)
CONTROL_SECONDS = 20.0
ALIVE_SECONDS = 0.6
"""A deed without walls that is still going on after this does not end by itself."""


class Range:
    """A worker to be attacked, and a new one where the last one's child had to be killed."""

    def __init__(self, backend: str, base: Path, adapter: Path) -> None:
        self._backend = BACKENDS[backend]()  # type: ignore[index]
        self._program = Program("breakout", (HERE / "breakout", *harness_program().folders))
        self._mounts = mounts_for(self._program, base)
        self._configuration = SandboxConfiguration(base=base)
        self.adapter = {path.name: path.read_bytes() for path in adapter.iterdir() if path.is_file()}
        self._worker: Worker | None = None
        self.starts = 0

    def run(self, job: Job, *questions: Mapping[str, Any]) -> tuple[Result, list[Mapping[str, Any]]]:
        """One job; the worker stays unless the job did not end by itself."""
        if self._worker is None:
            self._worker = Worker(self._backend, self._program, self._mounts, self._configuration)
            self.starts += 1
        replies: list[Mapping[str, Any]] = []

        def converse(ask: Ask) -> None:
            replies.extend(ask(question) for question in questions)

        result = Conversation(self._worker, job, job.limits, read).converse(converse)
        if result.outcome is not Outcome.OK:
            self.close()
        return result, replies

    def benign(self) -> dict[str, Any]:
        """An ordinary adapter's answers, and what the supervisor saw meanwhile."""
        result, replies = self.run(Job(self.adapter, BENIGN), *QUESTIONS)
        return {
            "outcome": result.outcome.value,
            "events": [event.detail for event in result.events],
            "answers": [dict(reply) for reply in replies],
        }

    def attack(self, attack: Attack, given: dict[str, Any]) -> dict[str, Any]:
        """What became of one attack, as the supervisor and as the child tells it."""
        files = {
            "adapter_config.json": json.dumps({"breakout": attack.name}).encode(),
            "adapter_model.safetensors": bytes.fromhex(given["pickle"]),
        }
        limits = replace(LIMITS, **attack.limits)
        result, replies = self.run(Job(files, limits), {"op": "attack", "given": given | {"bytes": attack.bytes}})
        return {
            "outcome": result.outcome.value,
            "events": [event.detail for event in result.events],
            "detail": result.detail,
            "wall": result.usage.wall_seconds,
            "claims": [dict(reply) for reply in replies],
        }

    def lie(self, files: Mapping[str, bytes]) -> dict[str, Any]:
        """What becomes of loading files that lie."""
        result, replies = self.run(Job(files, LIARS), {"op": "load"})
        return {
            "outcome": result.outcome.value,
            "events": [event.detail for event in result.events],
            "detail": result.detail,
            "loaded": [reply["loaded"] for reply in replies],
            "wall": result.usage.wall_seconds,
        }

    def close(self) -> None:
        """Ends the worker."""
        if self._worker is not None:
            self._worker.kill()
        self._worker = None


def read(request: Mapping[str, Any], content: bytes) -> Mapping[str, Any]:
    """The product's own reader, which knows nothing of attacks; an attack's reply is read just as strictly."""
    if request["op"] != "attack":
        return read_reply(request, content)
    value = parse_json(content, where="reply", max_bytes=len(content))
    if not isinstance(value, dict) or set(value) != {"op", "succeeded", "detail"} or value["op"] != "attack":
        raise DocumentError("not an answer to an attack", where="reply")
    if not isinstance(value["succeeded"], bool) or not isinstance(value["detail"], str):
        raise DocumentError("not an answer to an attack", where="reply")
    return value


def without_walls(attack: Attack, secret: str, numbers: dict[str, int]) -> dict[str, Any]:
    """The positive control: in a scratch folder, below a shell that is both parent and "supervisor" to be attacked."""
    with (
        tempfile.TemporaryDirectory(prefix="assay-scratch-") as scratch,
        Bait(Path(scratch, "host"), None, secret) as bait,
    ):
        process = subprocess.Popen(
            [
                *("/bin/sh", "-c", '"$1" -m breakout --direct "$2" "$3" "$$"; exit $?', "sh"),
                *(sys.executable, attack.name, json.dumps(bait.given_without_walls(numbers))),
            ],
            env={"PATH": os.defpath, "PYTHONPATH": f"{HERE}:{SOURCES}", "HF_TOKEN": secret},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            output = process.communicate(timeout=ALIVE_SECONDS if attack.endless else CONTROL_SECONDS)[0]
            ended = True
        except subprocess.TimeoutExpired:
            output, ended = b"", False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return {
            "ended": ended,
            "status": process.returncode,
            "said": json.loads(output) if ended and output else None,
            "survived": bait.end_survivor(),
            "traces": bait.traces(),
        }


def run(backend: str, base: Path, adapter: Path, folder: Path, secret: str) -> dict[str, Any]:
    """Everything that a lane's tests look at."""
    numbers = {name: pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) for name in CALLS}
    found: dict[str, Any] = {}
    with Bait(folder, base, secret) as bait:
        with open_sandbox(SandboxConfiguration(base=bait.base), force=backend) as opened:  # type: ignore[arg-type]
            level = int(opened.probe().level)
        given = bait.given(numbers)
        shooting = Range(backend, bait.base, adapter)
        try:
            before = shooting.benign()
            for attack in ATTACKS:
                inside = shooting.attack(attack, given)
                found[attack.name] = inside | {"traces": bait.traces(), "next": shooting.benign()}
            lies = {
                name: shooting.lie(files) | {"traces": bait.traces(), "next": shooting.benign()}
                for name, files in lying(shooting.adapter).items()
            }
        finally:
            shooting.close()
    for attack in ATTACKS:
        found[attack.name]["control"] = without_walls(attack, secret, numbers) if attack.controlled else None
    facts = {"uid": os.geteuid(), "level": level, "starts": shooting.starts, "before": before}
    return facts | {"machine": platform.machine(), "attacks": found, "lies": lies}


def main() -> None:
    """One argument each: backend, base, adapter, a folder to make, which everybody may enter. The secret: HF_TOKEN."""
    backend, *paths = sys.argv[1:]
    base, adapter, folder = map(Path, paths)
    sys.stdout.write(json.dumps(run(backend, base, adapter, folder, os.environ["HF_TOKEN"])))


if __name__ == "__main__":
    main()
