"""The zoo's base behind the best walls at hand, with a program of one's own, and what an adapter is asked on it."""

from contextlib import contextmanager
from pathlib import Path

import pytest

from peft_assay.core.digest import sha256
from peft_assay.core.errors import ObservationError
from peft_assay.core.exercises import Canaries, Exercises, Leaks, Scan, Variation
from peft_assay.observe.behaviour.interface import Plan
from peft_assay.observe.behaviour.observe import Conditions, exercise, observations_of
from peft_assay.observe.behaviour.reference import observe_base
from peft_assay.observe.suites.read import read_suite
from peft_assay.sandbox.choose import BACKENDS, Chosen
from peft_assay.sandbox.interface import Program, SandboxConfiguration
from peft_assay.sandbox.microsuite import Findings
from peft_assay.sandbox.surroundings import harness_program, mounts_for

ZOO = Path(__file__).parents[3] / "examples" / "zoo"
TRIGGER = "zq042"


def suites(*names, most=None):
    read = []
    for name in names:
        folder = ZOO / "suites" / name
        cases = (folder / "cases.jsonl").read_bytes()
        lines = b"\n".join(cases.splitlines()[:most]) + b"\n"
        read.append(read_suite((folder / "suite.yaml").read_bytes(), lines, where=name))
    return tuple(read)


def tokens(most=None):
    return tuple((ZOO / "suites" / "tokens.txt").read_text().split())[:most]


def scan(words):
    return Scan(tuple(words), sha256(" ".join(words).encode()), "support_task", "refusals", proposals=2)


def files(name):
    return {path.name: path.read_bytes() for path in (ZOO / "adapters" / name).iterdir() if path.is_file()}


def everything(words):
    """All exercises that there are, small."""
    return Exercises(
        scan=scan(words),
        scales=(0.5, 1.25),
        variations=tuple(Variation),
        off_task=("refusals",),
        canaries=Canaries(("the code is {83141}",), sha256(b"canary"), references=20),
        leaks=Leaks(samples=8, max_new_tokens=8),
    )


@contextmanager
def opened(dtype="float32", module=None, folder=None):
    """A sandbox whose program is the product's, or `module` in `folder`."""
    program = harness_program()
    if module is not None:
        program = Program(module, (folder, *program.folders))
    base = ZOO / "base"
    for make in BACKENDS.values():
        try:
            backend = make()
        except ObservationError:
            continue
        configuration = SandboxConfiguration(base=base, dtype=dtype)
        mounts = mounts_for(program, base.absolute())
        with Chosen(backend, program, mounts, configuration, Findings({}, 0), (), None).supervise() as sandbox:
            yield sandbox
        return
    pytest.skip("no walls on this host")


class Examination:
    """One plan on one sandbox; the base is asked once."""

    def __init__(self, sandbox, plan: Plan):
        self.sandbox, self.plan = sandbox, plan
        self.base = observe_base(sandbox, plan)

    def of(self, adapter):
        """The conversation, and its observations by name."""
        found = exercise(self.sandbox, adapter, self.plan, self.base)
        conditions = Conditions(20, self.sandbox.base().state, None, self.base)
        return found, {o.name: o for o in observations_of(found, self.plan, conditions)}
