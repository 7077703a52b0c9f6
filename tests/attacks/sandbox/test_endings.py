"""However the supervisor ends, nothing that it started lives on."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from attacks.sandbox.lanes_of_attack import LANES, lane_person
from lanes.lane_support import needs_landlock
from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.sandbox import choose, filters, surroundings
from peft_assay.sandbox.choose import open_sandbox
from peft_assay.sandbox.interface import SandboxConfiguration
from sandbox.processes import left_of, workers

pytestmark = pytest.mark.sandbox

HERE = Path(__file__).parent
SOURCES = HERE.parents[2] / "src"
SUPERVISOR = """
import os, signal, sys, threading
from pathlib import Path
from peft_assay.core.sandbox import Job, Limits
from peft_assay.sandbox.choose import BACKENDS
from peft_assay.sandbox.interface import Program, SandboxConfiguration
from peft_assay.sandbox.microsuite import Findings
from peft_assay.sandbox.strain import strain_program
from peft_assay.sandbox.supervisor import Supervisor
from peft_assay.sandbox.surroundings import harness_program, mounts_for
from peft_assay.sandbox.worker import Worker

signal.signal(signal.SIGINT, signal.default_int_handler)  # who started the tests may have had it ignored
base, here, name, phase = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]

def die(*_):
    print("dying", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

def die_among_many():
    while True:
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
        if sum(str(base).encode() in line and b"--control" in line for line in lines) > 20:
            die()

if phase == "straining":
    strain = strain_program(harness_program())
    threading.Thread(target=die_among_many).start()
    Worker(BACKENDS[name](), strain, mounts_for(strain, base), SandboxConfiguration(base=base))
if phase == "starting":
    Worker._first_message = die  # the worker's program was started and its set-up sent, nothing more
program = Program("hostile_worker", (here / "hostile_worker", *harness_program().folders))
dtype = "slow" if phase in ("starting", "loading") else "float32"
configuration = SandboxConfiguration(base=base, dtype=dtype, fresh_processes=phase == "fresh")
with Supervisor(BACKENDS[name](), program, mounts_for(program, base), configuration, Findings({}, 0), ()) as sandbox:
    if phase == "loading":
        threading.Timer(1.5, die).start()
    if phase in ("loading", "starting", "idle"):
        sandbox.base()
        die()
    def converse(ask):
        ask({"op": "score", "items": [{}], "do": "answer"})
        print("running", flush=True)
        if phase != "until told":
            threading.Timer(0.2, die).start()
        ask({"op": "score", "items": [{}], "do": "sleep"})
    sandbox.run(Job(None, Limits()), converse)
"""
PHASES = ("straining", "starting", "loading", "idle", "job", "fresh")


@pytest.fixture
def own_base(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    tmp_path.chmod(0o755)
    tmp_path.parent.chmod(0o755)
    tmp_path.parent.parent.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda ending: ending.name)
def test_nothing_survives_the_supervisor(ending, backend_name, findings, own_base):
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(own_base), str(HERE), backend_name, "until told"],
        env={"PYTHONPATH": str(SOURCES), "PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout.readline() == b"running\n"
        assert workers(own_base), "the positive control: there is something to survive"
        process.send_signal(ending)
        process.wait(10)
        assert left_of(own_base) == []
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("lane", sorted(LANES))
def test_nothing_survives_a_supervisor_killed_in_any_phase(lane, phase):
    needs_landlock()
    folder = Path(tempfile.mkdtemp(prefix="assay-endings-"))
    try:
        person = lane_person(lane, folder)
        (base := folder / "base").mkdir()
        (base / "config.json").write_text("{}")
        base.chmod(0o755)
        done = person.execute([sys.executable, "-c", SUPERVISOR, str(base), str(HERE), LANES[lane], phase])
        assert done.stdout.splitlines()[-1:] == ["dying"], done.stderr
        assert -done.returncode == signal.SIGKILL
        assert left_of(base) == []
    finally:
        shutil.rmtree(folder)


def test_nothing_survives_closing(do, hostile, empty_base):
    do({"do": "answer"})
    assert workers(empty_base)
    hostile._stop()
    assert left_of(empty_base) == []


def test_a_minimum_that_is_not_reached_is_refused_and_says_why(own_base):
    configuration = SandboxConfiguration(base=own_base, minimum_level=IsolationLevel.VM)
    with pytest.raises(ObservationError, match="isolation level vm") as caught:
        open_sandbox(configuration)
    assert "namespace" in caught.value.message
    assert "landlock" in caught.value.message
    assert "apt install bubblewrap" in caught.value.next_step


def test_without_bubblewrap_the_weaker_walls_are_used_and_the_lack_is_recorded(own_base, findings, monkeypatch):
    def missing():
        raise ObservationError("bwrap is not installed", next_step="apt install bubblewrap")

    monkeypatch.setitem(choose.BACKENDS, "namespace", missing)
    with open_sandbox(SandboxConfiguration(base=own_base)) as sandbox:
        assert sandbox.probe().level is IsolationLevel.PROCESS
        assert sandbox.probe().missing == ("namespace: bwrap is not installed (apt install bubblewrap)",)
    with pytest.raises(ObservationError, match="bwrap is not installed"):
        open_sandbox(SandboxConfiguration(base=own_base), force="namespace")


def test_walls_that_do_not_hold_are_not_used(own_base, findings, monkeypatch):
    class Open:
        """No walls at all around a worker whose children confine themselves: processes and user show."""

        name = "namespace"
        ceiling = IsolationLevel.NAMESPACE

        def command(self, worker, mounts):
            from peft_assay.sandbox.interface import Command

            return Command(tuple(worker), {**surroundings.ENVIRONMENT, "PYTHONPATH": str(SOURCES)})

        def describe(self):
            return {}

    monkeypatch.setitem(choose.BACKENDS, "namespace", Open)
    if os.geteuid() == 0:
        with pytest.raises(ObservationError, match="run-as-root"):
            open_sandbox(SandboxConfiguration(base=own_base), force="namespace")
    else:
        with open_sandbox(SandboxConfiguration(base=own_base), force="namespace") as sandbox:
            assert sandbox.probe().level is IsolationLevel.PROCESS


def test_a_missing_library_names_the_extra(own_base, monkeypatch):
    monkeypatch.setattr(surroundings, "LIBRARIES", ("no_such_library",))
    with pytest.raises(ObservationError, match="no_such_library") as caught:
        open_sandbox(SandboxConfiguration(base=own_base))
    assert caught.value.next_step == "pip install 'peft-assay[sandbox]'"


def test_missing_bindings_name_the_extra(own_base, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    filters.compile_filters.cache_clear()
    try:
        with pytest.raises(ObservationError, match="pyseccomp") as caught:
            open_sandbox(SandboxConfiguration(base=own_base))
        assert caught.value.next_step == "pip install 'peft-assay[sandbox]'"
    finally:
        filters.compile_filters.cache_clear()


def test_a_base_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ObservationError, match="no base model") as caught:
        open_sandbox(SandboxConfiguration(base=tmp_path / "nowhere"))
    assert caught.value.where == str(tmp_path / "nowhere")


def test_another_harness_inside_than_outside_is_refused(own_base, backend, monkeypatch):
    from peft_assay.sandbox import worker
    from peft_assay.sandbox.microsuite import attack_program, try_attacks

    program = surroundings.harness_program()
    expected = surroundings.identity(program)
    for name in expected:
        monkeypatch.setattr(worker, "identity", lambda _, name=name: expected | {name: "another"})
        with pytest.raises(ObservationError, match=f"inside the sandbox {name}"):
            try_attacks(
                backend,
                attack_program(program),
                surroundings.mounts_for(program, own_base),
                SandboxConfiguration(own_base),
            )
