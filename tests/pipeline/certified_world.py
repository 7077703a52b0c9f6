"""One certified project for all tests of pipeline and command line, made once; each test gets its own copy."""

import atexit
import contextlib
import io
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from peft_assay.cli.main import run
from peft_assay.pipeline.deployment import Deployment, utc_now
from peft_assay.pipeline.place import Place

ZOO = Path(__file__).resolve().parents[2] / "examples" / "zoo"
ADAPTERS = ("lora", "prompt", "no-licence", "pickle-weights")
GROUPS = {"rights", "policy"}
"""Commands whose first argument is a command of their own."""
OUTCOMES = {"lora": "PASS", "prompt": "PASS", "no-licence": "INDETERMINATE", "pickle-weights": "FAIL"}


@dataclass(frozen=True)
class Done:
    """What a command line printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def document(self):
        return json.loads(self.out)


@dataclass(frozen=True)
class World:
    """A project with its adapters and workspace in `root`/project, its trust anchor in `root`/trust."""

    root: Path
    certified: Done | None = field(default=None, compare=False)

    @property
    def project(self):
        return self.root / "project"

    @property
    def document(self):
        return self.project / "peft-assay.yaml"

    @property
    def trust(self):
        return self.root / "trust"

    def adapter(self, name):
        return str(self.project / "adapters" / name)

    def run(self, *arguments):
        """The command line in this process."""
        words = 2 if arguments[0] in GROUPS else 1
        command, rest = arguments[:words], arguments[words:]  # what a test says of --trust comes later, and counts
        place = [] if command == ("inspect",) else ["--trust", str(self.trust)]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(self.project), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run([*command, *place, *rest])
        return Done(code, out.getvalue(), err.getvalue())

    def json(self, *arguments):
        return self.run(*arguments, "--format", "json")

    def verify(self, name="lora"):
        """What the gate says of one adapter: (exit code, the JSON entry)."""
        done = self.json("verify", self.adapter(name))
        return done.code, done.document[0] if isinstance(done.document, list) else done.document

    def edit(self, old, new):
        text = self.document.read_text()
        assert old in text
        self.document.write_text(text.replace(old, new))

    @contextlib.contextmanager
    def open(self):
        with Deployment.open(Place(self.document, None, self.trust)) as deployment:
            yield deployment

    def later(self, **delta):
        from datetime import timedelta

        now = utc_now() + timedelta(**delta)
        return lambda: now


@cache
def certified_world():
    root = Path(tempfile.mkdtemp(prefix="assay-world-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    world = World(root)
    shutil.copytree(ZOO, world.project, ignore=shutil.ignore_patterns("adapters", "build", ".peft-assay"))
    for name in ADAPTERS:
        shutil.copytree(ZOO / "adapters" / name, world.project / "adapters" / name)
    assert world.run("init", ".").code == 0
    done = world.json("certify", *map(world.adapter, ADAPTERS))
    assert isinstance(done.document, list), done
    return World(root, done)


def copy_of(world, folder):
    shutil.copytree(world.root, folder, symlinks=True)
    return World(folder)
