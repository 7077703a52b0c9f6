"""An adapter that changes the worker for those after it: whoever shared its wave is observed again, it alone is void."""

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.core.verdict import Outcome
from peft_assay.observe.behaviour import observe
from peft_assay.observe.behaviour.replay import Replay
from peft_assay.pipeline import waves
from peft_assay.pipeline.certify import certify
from peft_assay.pipeline.deployment import utc_now
from peft_assay.pipeline.sources import Located
from peft_assay.sandbox import supervisor
from peft_assay.sandbox.choose import BACKENDS, Chosen
from peft_assay.sandbox.interface import JOBS_PER_WORKER, Program, SandboxConfiguration
from peft_assay.sandbox.microsuite import ATTACKS, Findings
from peft_assay.sandbox.nowalls import NoWalls
from peft_assay.sandbox.pool import SandboxPool
from peft_assay.sandbox.supervisor import Supervisor
from peft_assay.sandbox.surroundings import harness_program, mounts_for
from peft_assay.store.ledger import Kind
from pipeline.certified_world import ZOO, World
from pipeline.suite_projects import write_project, write_suite

pytestmark = pytest.mark.sandbox

SHOWN = Findings(dict.fromkeys(ATTACKS, True), 1)
"""As if the walls had been tried."""

WORKER = Path(__file__).parent / "changed_worker"
HONEST, ACCOMPLICE, CULPRIT = 16, 7, 13
"""``lora_alpha``, by which the worker knows what an adapter is."""
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")
POLICY = """apiVersion: peft-assay/v1
kind: Policy
id: task
description: Admits what does the task, and whose process did nothing else.
rules:
  - id: calm
    assert: sandbox.events == 0
    why: Its process did something else.
    next: "peft-assay report {source}"
  - id: task
    assert: suite.task.complete && suite.task.passes == suite.task.n
    why: It does not do the task.
    next: "peft-assay report {source}"
"""


@pytest.fixture(autouse=True)
def unreplayed(monkeypatch):
    """These workers read no weights, so there is nothing to compute again; a replay would see the change itself."""
    monkeypatch.setattr(observe, "replay", lambda *_, **__: Replay(applies=False, reason="not asked here"))


@pytest.fixture
def world():
    """A project whose workers are not the product's. Not below pytest's own folder, which is made private again."""
    root = Path(tempfile.mkdtemp(prefix="assay-waves-"))
    root.chmod(0o755)
    world = World(root)
    write_suite(
        world.project / "task",
        {"confidentiality": "public"},
        [{"id": f"c{n}", "prompt": f"question {n} ?", "expected": f"answer {n}"} for n in range(3)],
    )
    (world.project / "policy.yaml").write_text(POLICY)
    write_project(world.project, policy="./policy.yaml")
    assert world.run("init", ".").code == 0
    yield world
    shutil.rmtree(root)


def sources(world, *strengths):
    """Adapters of the zoo's LoRA's shape, alike but for their strength and their number.

    Each does something else, by its number: attempts at adapters that do the same count together.
    """
    made = []
    for number, strength in enumerate(strengths):
        folder = world.project / "adapters" / f"{number}"
        shutil.copytree(ZOO / "adapters" / "lora", folder, dirs_exist_ok=True)
        config = json.loads((folder / "adapter_config.json").read_text())
        changed = {**config, "lora_alpha": strength, "lora_dropout": number / 100}
        (folder / "adapter_config.json").write_text(json.dumps(changed))
        weights = load_file(folder / "adapter_model.safetensors")
        first = min(weights)
        save_file(
            {**weights, first: weights[first] * np.float32(1 + number / 100)}, folder / "adapter_model.safetensors"
        )
        made.append(Located(str(folder), folder))
    return made


PRETENDED = NoWalls(ceiling=IsolationLevel.PROCESS)
"""No walls, said to be some: what is tried here comes after them, and the gate asks for a level."""


def behind(backend, workers=1):
    def open_sandbox(project, adapters):
        program = Program("changed_worker", (WORKER, *harness_program().folders))
        configuration = SandboxConfiguration(base=project.base_path, sentinel_every=JOBS_PER_WORKER)
        mounts = mounts_for(program, project.base_path.absolute())
        chosen = Chosen(backend, program, mounts, configuration, SHOWN, (), None)
        return chosen.supervise() if workers == 1 else SandboxPool(chosen, workers)

    return open_sandbox


def certified(world, backend, *strengths, progress=lambda *_: None, workers=1):
    with world.open() as deployment:
        done = certify(
            deployment,
            sources(world, *strengths),
            open_sandbox=behind(backend, workers),
            clock=utc_now,
            progress=progress,
        )
        deployment.workspace.audit()
    return done


def outcomes(done):
    return [item.outcome for item in done]


def said(done):
    return [(item.attempts, item.record.attestation["vouched"]) for item in done]


def ledger(world, *kinds):
    with world.open() as deployment:
        return [entry.kind for entry in deployment.workspace.history() if entry.kind in kinds]


def needs_open_processes():
    if YAMA.exists() and YAMA.read_text().strip() != "0":
        pytest.skip("Yama lets no child write to its parent here, walls or not")


@pytest.fixture
def walls():
    for make in BACKENDS.values():
        try:
            return make()
        except ObservationError:
            continue
    pytest.skip("no walls on this host")


@pytest.fixture
def asked(monkeypatch):
    """How often a reference adapter was asked."""
    times = []
    ask = supervisor.ask_reference
    monkeypatch.setattr(supervisor, "ask_reference", lambda *given: (times.append(1), ask(*given))[1])
    return times


ONE = {"jobs": 1, "place": 1}
PASS, FAIL = Outcome.PASS, Outcome.FAIL


def test_a_wave_is_signed_after_one_question(world, walls, asked):
    told = []
    done = certified(world, walls, *[HONEST] * 9, progress=lambda what, at, of: told.append((at, of)))
    assert outcomes(done) == [PASS] * 9
    wave = [(1, {"jobs": 8, "place": place}) for place in range(1, 9)]
    assert said(done) == [*wave, (1, ONE)]
    assert len(asked) == 1 + 2, "at the start, and for each wave"
    assert told == [(0, 9), *((at, 9) for at in range(9))]


def test_without_vouching_a_changed_worker_answers_for_those_after_it(world, monkeypatch):
    """Positive control: the attack works, and gets the accomplice its certificate."""
    needs_open_processes()
    monkeypatch.setattr(Supervisor, "vouch", lambda _: None)
    done = certified(world, PRETENDED, HONEST, ACCOMPLICE, CULPRIT, ACCOMPLICE, HONEST)
    assert outcomes(done) == [PASS, FAIL, PASS, PASS, FAIL]


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_of_a_wave_counts_that_changed_its_worker_and_the_culprit_alone_is_void(workers, world):
    needs_open_processes()
    told = []
    strengths = (HONEST, ACCOMPLICE, CULPRIT, ACCOMPLICE, HONEST)
    done = certified(world, PRETENDED, *strengths, progress=lambda what, *_: told.append(what), workers=workers)
    assert outcomes(done) == [PASS, FAIL, FAIL, FAIL, PASS]
    culprit = done[2]
    assert culprit.verdict.deciding.rule == "calm"
    events = culprit.record.observations.get("sandbox.events")
    assert (events.value, "reference adapter" in events.reason) == (1, True)
    assert culprit.record.observations.get("suite.task.passes").value is None
    assert [item.verdict.deciding.rule for item in (done[1], done[3])] == ["task", "task"]
    assert said(done) == [(2, ONE), (2, ONE), (2, None), (2, ONE), (2, ONE)]
    assert ledger(world, Kind.OBSERVED, Kind.CERTIFIED).count(Kind.OBSERVED) == 5, "the void wave was never signed"
    assert told[6:] == [f"{number}, again and by itself" for number in range(5)]
    again = certified(world, PRETENDED, *strengths, workers=workers)
    assert outcomes(again) == outcomes(done)
    assert [item.reused for item in again] == [True, True, False, True, True], "what is void is never reused"


def test_a_culprit_alone_is_void_at_once(world):
    needs_open_processes()
    (done,) = certified(world, PRETENDED, CULPRIT)
    assert (done.outcome, said([done])) == (FAIL, [(1, None)])
    assert ledger(world, Kind.ANSWERED) == [Kind.ANSWERED], "the base's; of the culprit nothing is kept"


def test_behind_walls_the_attempt_is_seen_and_only_those_before_it_are_observed_again(world, walls):
    done = certified(world, walls, HONEST, ACCOMPLICE, CULPRIT, ACCOMPLICE, HONEST)
    assert outcomes(done) == [PASS, FAIL, FAIL, FAIL, PASS]
    assert "refused-syscall" in done[2].record.observations.get("sandbox.events").reason
    later = [(1, {"jobs": 2, "place": place}) for place in (1, 2)]
    assert said(done) == [(2, ONE), (2, ONE), (1, None), *later]


def test_beside_other_workers_all_are_observed_again_that_nobody_can_vouch_for(world, walls):
    done = certified(world, walls, HONEST, ACCOMPLICE, CULPRIT, ACCOMPLICE, HONEST, workers=2)
    assert outcomes(done) == [PASS, FAIL, FAIL, FAIL, PASS]
    assert "refused-syscall" in done[2].record.observations.get("sandbox.events").reason
    assert said(done) == [(2, ONE), (2, ONE), (1, None), (2, ONE), (2, ONE)]


def test_a_wave_of_two_workers_is_signed_after_one_question_to_each(world, walls, asked, monkeypatch):
    monkeypatch.setattr(waves, "WAVE_AGE", waves.WAVE_AGE * 100)  # a slow machine closes no wave early
    done = certified(world, walls, *[HONEST] * 17, workers=2)
    assert outcomes(done) == [PASS] * 17
    assert said(done) == [*((1, {"jobs": 16, "place": place}) for place in range(1, 17)), (1, ONE)]
    assert len(asked) == 2 + 2 + 1, "at the start of each, and for each wave those that had anything to answer for"


@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_bytes_twice_are_observed_once(workers, world, walls):
    folder = sources(world, HONEST)[0].path
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    with world.open() as deployment:
        done = certify(
            deployment,
            [Located(str(path), path) for path in (folder, copy)],
            open_sandbox=behind(walls, workers),
            clock=utc_now,
            progress=lambda *_: None,
        )
    assert [(item.outcome, item.reused) for item in done] == [(PASS, False), (PASS, True)]


def test_a_wave_is_closed_when_it_is_old_enough(world, walls, monkeypatch):
    monkeypatch.setattr(waves, "WAVE_AGE", waves.WAVE_AGE * 0)
    assert said(certified(world, walls, HONEST, HONEST)) == [(1, ONE), (1, ONE)]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_an_interruption_loses_the_open_wave_and_nothing_else(end, workers, world, walls, monkeypatch):
    monkeypatch.setattr(waves, "WAVE_ADAPTERS", 2 // workers)
    signed = (
        4  # of five that ran: two waves of two, or one that had grown meanwhile, since three may wait for their turn
    )

    def interrupt(what, at, of):
        if at == 5:
            os.kill(os.getpid(), end)

    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        status = 1
        try:
            certified(world, walls, *[HONEST] * 6, progress=interrupt, workers=workers)
        except KeyboardInterrupt:
            status = 130
        finally:
            os._exit(status)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended == (130 if end == signal.SIGINT else -signal.SIGKILL)
    kinds = ledger(world, Kind.ATTEMPT, Kind.OBSERVED, Kind.CERTIFIED)
    assert [kinds.count(kind) for kind in (Kind.ATTEMPT, Kind.OBSERVED, Kind.CERTIFIED)] == [5, signed, signed]
    done = certified(world, walls, *[HONEST] * 6)
    assert outcomes(done) == [PASS] * 6
    assert [item.reused for item in done] == [True] * signed + [False] * (6 - signed)
    assert [item.attempts for item in done] == [2, 2, 2, 2, 2, 1]
