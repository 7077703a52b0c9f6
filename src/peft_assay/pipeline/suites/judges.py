"""Judges as programs of the consumer's own: one question on standard input, one verdict on standard output.

The program comes from the trust anchor, never from a suite or a project. What it reads is hostile text, so that what it
says is untrusted: bounded in time and size, one JSON object in one closed form, everything else a failure of the judge.
"""

import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, Field

from peft_assay.core.canonical import canonical_bytes, canonical_digest
from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import DocumentError
from peft_assay.core.judge import JudgeFailed
from peft_assay.core.parse import parse_json, validate
from peft_assay.core.suite import ScorerKind, Suite
from peft_assay.trust.anchor import JudgeProgram, TrustAnchor

MAX_REPLY = 1 << 16
"""Bytes."""
_MAX_PART = 64 << 20
"""Bytes of a file of the command whose content stands in the digest."""
_KEPT = ("PATH", "LANG", "LC_ALL", "TZ")


class _Reply(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    passed: bool
    why: str = Field(default="", max_length=MAX_REPLY)


@dataclass(frozen=True, slots=True)
class CommandJudge:
    """A `core.judge.Judge` that runs a program for each answer."""

    name: str
    digest: Digest
    program: JudgeProgram

    def passes(self, question: Mapping[str, Any]) -> bool:
        """Whether the program says so; raises JudgeFailed when it says nothing that can be read."""
        where = f"judge {self.name}"
        content = _run(self.program, canonical_bytes(question), where)
        try:
            return validate(_Reply, parse_json(content, where=where, max_bytes=MAX_REPLY), where=where).passed
        except DocumentError as error:
            raise _failed(
                where, f'its reply is not {{"passed": true or false, "why": text}}: {error.message}'
            ) from None


def _failed(where: str, why: str) -> JudgeFailed:
    return JudgeFailed(why, where=where, next_step="try it by hand with a question of docs/how-to/write-a-suite.md")


def with_judges(suites: Iterable[Suite], anchor: TrustAnchor) -> tuple[Suite, ...]:
    """`suites`, those with a judge bound to the anchor's program of that name, where it has one."""
    return tuple(_bound(suite, anchor) for suite in suites)


def _bound(suite: Suite, anchor: TrustAnchor) -> Suite:
    name = suite.scorer.judge
    program = anchor.judges.get(name or "")
    if suite.scorer.kind is not ScorerKind.JUDGE or name is None or program is None:
        return suite
    return replace(suite, judge=CommandJudge(name, _digest(program), program))


def judge_digests(suites: Iterable[Suite]) -> dict[str, Digest]:
    """What the judges of `suites` are made of, by name: conditions of what is observed."""
    return {suite.judge.name: suite.judge.digest for suite in suites if suite.judge is not None}


def judging_seconds(suites: Iterable[Suite]) -> float:
    """How long the judges of `suites` may take in all: an adapter is not blamed for the time that they need."""
    return sum(
        len(suite.cases) * suite.judge.program.timeout.total_seconds()
        for suite in suites
        if isinstance(suite.judge, CommandJudge)
    )


def _digest(program: JudgeProgram) -> Digest:
    """Over command, environment names and the content of every file that the command names."""
    files = {part: sha256(Path(part).read_bytes()) for part in program.command if _is_part(part)}
    return canonical_digest(
        {"command": list(program.command), "environment": list(program.environment), "files": dict(files)}
    )


def _is_part(word: str) -> bool:
    try:
        return word.startswith("/") and Path(word).is_file() and Path(word).stat().st_size <= _MAX_PART
    except (OSError, ValueError):
        return False


def _run(program: JudgeProgram, question: bytes, where: str) -> bytes:
    """What the program writes; it is given the question as a file, so that neither side can block the other."""
    environment = {name: os.environ[name] for name in (*_KEPT, *program.environment) if name in os.environ}
    with tempfile.TemporaryFile() as asked:
        asked.write(question)
        asked.seek(0)
        try:
            process = subprocess.Popen(
                program.command,
                stdin=asked,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise _failed(where, f"it cannot be started: {getattr(error, 'strerror', None) or error}") from None
    assert process.stdout is not None  # noqa: S101 - asked for above
    deadline = time.monotonic() + program.timeout.total_seconds()
    try:
        content = _read(process.stdout, deadline, where)
        _await_end(process.pid, deadline, where)
    finally:
        status = _end(process)
    if status != 0:
        raise _failed(where, f"it ended with status {status}")
    return content


def _read(stream: IO[bytes], deadline: float, where: str) -> bytes:
    content = b""
    with selectors.DefaultSelector() as ready:
        ready.register(stream, selectors.EVENT_READ)
        while ready.select(max(0.0, deadline - time.monotonic())):
            part = os.read(stream.fileno(), MAX_REPLY)
            if not part:
                return content
            content += part
            if len(content) > MAX_REPLY:
                raise _failed(where, f"its reply is longer than {MAX_REPLY} bytes")
    raise _failed(where, "it gave no reply in time")


def _await_end(pid: int, deadline: float, where: str) -> None:
    """Waits for the program without reaping it: until then its process group is nobody else's."""
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > deadline:
            raise _failed(where, "it closed its output and did not end")
        time.sleep(0.005)


def _end(process: subprocess.Popen[bytes]) -> int:
    """Ends what is left of the program and all that it started; gives its exit status."""
    if process.stdout is not None:
        process.stdout.close()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()
