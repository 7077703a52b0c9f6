"""Asks uv whether what an adapter needs can be installed beside what the lock pins: only where the context wants it.

Nothing is installed and nothing is built (``--no-build``: a source distribution would run its author's code). uv asks
the index that it is configured for; only names with versions ever get here, no options, addresses or files.
"""

import subprocess
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import which

from packaging.requirements import InvalidRequirement, Requirement

from peft_assay.core.errors import UsageError
from peft_assay.observe.interface import Resolution

SECONDS = 120
MAX_SAID = 300
"""Characters of uv's own words that are kept."""


def uv() -> str:
    """Path of uv; raises UsageError where it is not installed."""
    found = which("uv", path=sysconfig.get_path("scripts")) or which("uv")
    if found is None:
        raise UsageError(
            "context.stack.resolve asks for uv, which is not installed",
            next_step='python -m pip install "peft-assay[resolver]", or leave resolve out',
        )
    return found


def resolver(locked: Mapping[str, str], options: Sequence[str] = ()) -> "Resolver":
    """Resolves beside `locked`; `options` are further ones of ``uv pip compile``. Raises UsageError without uv."""
    return Resolver(uv(), locked, options)


class Resolver:
    """One environment, and requirements to be added to it."""

    def __init__(self, program: str, locked: Mapping[str, str], options: Sequence[str]) -> None:
        self._program = program
        self._pins = "".join(f"{name}=={version}\n" for name, version in locked.items())
        self._options = tuple(options)

    def __call__(self, requirements: Sequence[str]) -> Resolution:
        """Whether there are versions of all of `requirements` that go with the lock, and what uv says if not."""
        if not all(map(_is_plain, requirements)):
            return Resolution(None, "not a name with versions")
        with tempfile.TemporaryDirectory(prefix="peft-assay-") as folder:
            wanted, pins = Path(folder, "wanted.in"), Path(folder, "lock.txt")
            wanted.write_text("".join(f"{requirement}\n" for requirement in requirements), "utf-8")
            pins.write_text(self._pins, "utf-8")
            command = [
                self._program, "pip", "compile", str(wanted), "--constraint", str(pins), "--no-build", "--quiet",
                "--no-header", "--output-file", str(Path(folder, "out.txt")), *self._options,
            ]  # fmt: skip
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False, cwd=folder
                )
            except (OSError, subprocess.TimeoutExpired):
                return Resolution(None, f"uv did not answer within {SECONDS} s")
        said = " ".join(done.stderr.split())[:MAX_SAID]
        if done.returncode == 0:
            return Resolution(True, said)
        # 1: no solution; anything else (an index that cannot be reached, a usage error) is no answer
        unsolvable = done.returncode == 1 and "No solution found" in done.stderr
        return Resolution(False if unsolvable else None, said or f"uv ended with {done.returncode}")


def _is_plain(requirement: str) -> bool:
    """Whether it is a name with versions: an option or an address would make uv ask somebody else."""
    try:
        return Requirement(requirement).url is None
    except InvalidRequirement:
        return False
