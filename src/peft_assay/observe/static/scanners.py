"""pickles.fickling, pickles.modelscan: what scanners read in the adapter's pickles, where they are installed.

They disassemble a pickle and look at what it would call; nothing is unpickled. Each works in a process of its own, with
limits on time and memory, because the file may have been made for it. Their silence clears nothing: the policy refuses
every pickle, and this tells a person what the author wrote into one.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec

from peft_assay.core.content import Content
from peft_assay.core.observation import Observation, ObservedBy, Status, ok
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.pickle import pickles

MAX_PICKLES = 8
CPU_SECONDS = 5
MEMORY = 1 << 30
"""Bytes of address space."""
MAX_ANSWER = 4_096
"""Bytes of a child's answer."""
_CHILD = "peft_assay.observe.disassemble"
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}
"""modelscan imports numpy, which would reserve memory for each processor."""
_EXTRAS = {"fickling": "scanners", "modelscan": "modelscan"}
"""The extra of peft-assay that brings a scanner."""


def scanned(scanner: str, path: str, content: Content) -> str:
    """One line about the pickle at `path`: the scanner's severity and first finding, or why there is none."""
    if content.body is None:
        return f"{path}: not scanned: {content.size} bytes are too many"
    try:
        done = subprocess.run(
            [sys.executable, "-m", _CHILD, scanner],
            input=content.body,
            capture_output=True,
            timeout=CPU_SECONDS * 6,
            check=True,
            env=_ENVIRONMENT,
            preexec_fn=_limited,
        )
        severity, finding = _answer(done.stdout)
    except (OSError, ValueError, RecursionError, subprocess.SubprocessError):
        return f"{path}: not scanned: {scanner} could not read it"
    return f"{path}: {severity}" + (f": {finding}" if finding else "")


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _answer(said: bytes) -> tuple[str, str]:
    """Severity and finding; raises ValueError for anything but these two texts."""
    answer = json.loads(said) if len(said) <= MAX_ANSWER else None
    if not isinstance(answer, list) or len(answer) != 2 or not all(isinstance(text, str) for text in answer):
        raise ValueError("not an answer")
    return answer[0], answer[1]


def _lines(scanner: str, subject: StaticSubject) -> Iterator[str]:
    found = list(pickles(subject).items())
    yield from (scanned(scanner, path, content) for path, content in found[:MAX_PICKLES])
    yield from (f"{path}: not scanned: more than {MAX_PICKLES} pickles" for path, _ in found[MAX_PICKLES:])


class ScannersProbe:
    """pickles.fickling and pickles.modelscan."""

    id = "scanners"
    version = "2"
    terms = ("pickles.fickling", "pickles.modelscan")

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Not applicable where the scanner is not installed."""
        for term in self.terms:
            scanner = term.removeprefix("pickles.")
            if find_spec(scanner) is None:
                reason = f"{scanner} is not installed (extra {_EXTRAS[scanner]})"
                yield Observation(term, Status.NOT_APPLICABLE, None, ObservedBy.INTAKE, reason)
            else:
                yield ok(term, tuple(_lines(scanner, subject)), by=ObservedBy.INTAKE)
