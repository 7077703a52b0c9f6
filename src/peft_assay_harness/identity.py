"""Whether the worker runs what the supervisor believes it runs: interpreter, standard library, harness files."""

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


class Refused(Exception):
    """The worker will not start; the message tells the user why."""


def check_identity(expected: Mapping[str, Any], folders: Iterable[str]) -> None:
    """Compares with what the supervisor sent; raises Refused naming the difference.

    A sandbox that resolved another interpreter, another libpython or an older copy of the harness would observe under
    conditions that the record does not name.
    """
    actual = {
        "executable": os.path.realpath(sys.executable),
        "version": sys.version,
        "standardLibrary": hashlib.sha256(Path(os.__file__).read_bytes()).hexdigest(),
        "harness": files_digest(folders),
    }
    for name, value in actual.items():
        if expected.get(name) != value:
            raise Refused(f"inside the sandbox {name} is {value!r}, outside it is {expected.get(name)!r}")


def files_digest(folders: Iterable[str]) -> str:
    """``sha256:...`` over the lines ``<sha256 of the file>  <folder>/<path>`` of all Python files, sorted."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {Path(folder).name}/{path.relative_to(folder).as_posix()}\n"
        for folder in folders
        for path in Path(folder).rglob("*.py")
    ]
    return "sha256:" + hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
