"""pickles.fickling: what fickling reads in the adapter's pickles, where it is installed (extra ``scanners``).

fickling disassembles a pickle and looks at what it would call; nothing is unpickled. It works in a process of its own,
with limits on time and memory, because the file may have been made for it. Its silence clears nothing: the policy
refuses every pickle, and this tells a person what the author wrote into one.
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
from peft_assay.observe.static.pickle import is_pickle

MAX_PICKLES = 8
CPU_SECONDS = 5
MEMORY = 1 << 30
"""Bytes of address space."""
_CHILD = "peft_assay.observe.disassemble"


def scanned(path: str, content: Content) -> str:
    """One line about the pickle at `path`: fickling's severity and its first finding, or why there is none."""
    if content.body is None:
        return f"{path}: not scanned: {content.size} bytes are too many"
    try:
        done = subprocess.run(
            [sys.executable, "-m", _CHILD],
            input=content.body,
            capture_output=True,
            timeout=CPU_SECONDS * 6,
            check=False,
            env={},
            preexec_fn=_limited,
        )
        severity, finding = json.loads(done.stdout)
    except (OSError, ValueError, TypeError, subprocess.TimeoutExpired):
        return f"{path}: not scanned: fickling could not read it"
    return f"{path}: {severity}" + (f": {finding}" if finding else "")


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _lines(subject: StaticSubject) -> Iterator[str]:
    pickles = [(path, content) for path, content in subject.files.items() if is_pickle(path, content)]
    yield from (scanned(path, content) for path, content in pickles[:MAX_PICKLES])
    yield from (f"{path}: not scanned: more than {MAX_PICKLES} pickles" for path, _ in pickles[MAX_PICKLES:])


class ScannersProbe:
    """pickles.fickling."""

    id = "scanners"
    version = "1"
    terms = ("pickles.fickling",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Not applicable where fickling is not installed."""
        if find_spec("fickling") is None:
            reason = "fickling is not installed (extra scanners)"
            yield Observation(self.terms[0], Status.NOT_APPLICABLE, None, ObservedBy.INTAKE, reason)
        else:
            yield ok(self.terms[0], tuple(_lines(subject)), by=ObservedBy.INTAKE)
