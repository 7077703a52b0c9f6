"""The command line in this process, for commands that need no project."""

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

from peft_assay.cli.main import run

ZOO = Path(__file__).resolve().parents[2] / "examples" / "zoo" / "adapters"


@dataclass(frozen=True)
class Said:
    """What a command line printed, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        return json.loads(self.out)


def say(*arguments, within=None):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.chdir(within or Path.cwd()):
        code = run([str(argument) for argument in arguments])
    return Said(code, out.getvalue(), err.getvalue())
