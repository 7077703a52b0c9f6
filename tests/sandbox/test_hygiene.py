"""What jobs share and what they never share: workers, compartments, the reference adapter, pools, forks that work."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Barrier, Event

import pytest

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import Job, Limits, Outcome, Unvouched
from peft_assay.sandbox import pool as pool_module
from peft_assay.sandbox.cgroups import Room
from peft_assay.sandbox.choose import BACKENDS, Chosen
from peft_assay.sandbox.interface import Program, SandboxConfiguration
from peft_assay.sandbox.microsuite import Findings
from peft_assay.sandbox.pool import SandboxPool
from peft_assay.sandbox.surroundings import harness_program, mounts_for
from sandbox.processes import left_of

pytestmark = pytest.mark.sandbox

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "src"
ADAPTER = {"adapter_config.json": b"{}"}
BRIEF = Limits(wall_seconds=10, cpu_seconds=5, memory_bytes=64 << 20, output_bytes=1 << 20)


@pytest.fixture
def base():
    """What the worker answers, and whether its forks work, for a test to change. Not below pytest's own folder, which
    every session makes private again."""
    folder = Path(tempfile.mkdtemp(prefix="assay-base-"))
    folder.chmod(0o755)
    says(folder, score=-1.0)
    yield folder
    shutil.rmtree(folder)


def says(base, **told):
    (base / "config.json").write_text(json.dumps({"score": -1.0, "forks": True} | told))


@pytest.fixture
def walls(base):
    """Built-in walls around the calm worker; the strongest that there is."""

    def build(**settings):
        for make in BACKENDS.values():
            try:
                backend = make()
            except ObservationError:
                continue
            program = Program("calm_worker", (HERE / "calm_worker", *harness_program().folders))
            configuration = SandboxConfiguration(base=base, limits=BRIEF, **settings)
            return Chosen(backend, program, mounts_for(program, base), configuration, Findings({}, 0), (), None)
        pytest.skip("no walls on this host")

    return build


def score(sandbox, do=None, adapter=ADAPTER, **job):
    """One job that asks for one number; gives its result."""

    def converse(ask):
        ask({"op": "score", "items": [{}], "do": do})

    return sandbox.run(Job(adapter, BRIEF, **job), converse)


def workers(results):
    return [result.record["worker"] for result in results]


def test_clean_jobs_share_a_worker_and_any_event_or_crash_replaces_it(walls):
    with walls().supervise() as sandbox:
        results = [score(sandbox, do) for do in (None, None, "socket", None, "end", None, None)]
    assert workers(results) == [1, 1, 1, 2, 2, 3, 3]
    assert [result.outcome for result in results] == [Outcome.OK] * 4 + [Outcome.CRASH] + [Outcome.OK] * 2
    assert [event.detail for event in results[2].events] == ["socket"]


def test_compartments_never_share_a_worker(walls):
    with walls().supervise() as sandbox:
        results = [score(sandbox, compartment=name) for name in ("public", "public", "secret", "public")]
    assert workers(results) == [1, 1, 2, 3]


def test_a_worker_is_replaced_after_so_many_jobs(walls):
    with walls(jobs_per_worker=2).supervise() as sandbox:
        results = [score(sandbox) for _ in range(5)]
    assert workers(results) == [1, 1, 2, 2, 3]
    assert [result.record["job"] for result in results] == [1, 2, 1, 2, 1]


def test_a_job_can_have_a_process_of_its_own(walls):
    with walls().supervise() as sandbox:
        results = [score(sandbox, fresh_process=fresh) for fresh in (False, True, True, False)]
    assert [result.record["fresh"] for result in results] == [False, True, True, False]
    assert workers(results) == [1, 2, 3, 4]


def test_a_worker_that_answers_its_reference_adapter_otherwise_voids_what_it_observed(walls, base):
    with walls(sentinel_every=3).supervise() as sandbox:
        score(sandbox)
        sandbox.vouch()
        score(sandbox)
        says(base, score=-2.0)
        with pytest.raises(ObservationError, match="the last 2 results are void") as caught:
            score(sandbox)
        assert "fresh processes" in caught.value.next_step
        with pytest.raises(ObservationError, match="changed while the sandbox was open"):
            score(sandbox)  # the next worker answers otherwise than the first did, too
        says(base, score=-1.0)
        assert score(sandbox).outcome is Outcome.OK


def test_whoever_signs_can_have_the_reference_asked_at_once(walls, base):
    with walls().supervise() as sandbox:
        score(sandbox)
        says(base, score=-2.0)
        with pytest.raises(ObservationError, match="the last 1 results are void"):
            sandbox.vouch()


def test_the_base_needs_nobody_to_vouch_for_it_before_its_worker_met_an_adapter(walls, base):
    with walls().supervise() as sandbox:
        score(sandbox, adapter=None)
        says(base, score=-2.0)
        sandbox.vouch()
        says(base, score=-1.0)
        score(sandbox)
        score(sandbox, adapter=None)
        says(base, score=-2.0)
        with pytest.raises(Unvouched, match="the last 2 results are void"):
            sandbox.vouch()


@pytest.mark.parametrize("deed", ["socket", "end"])
def test_nobody_vouches_for_what_came_before_a_job_that_cost_the_worker(walls, deed):
    with walls().supervise() as sandbox:
        for do in (None, None, deed, None):
            score(sandbox, do)
        with pytest.raises(Unvouched, match="ended before it could be asked: the last 3 results are void"):
            sandbox.vouch()
        score(sandbox)
        sandbox.vouch()


def test_a_reference_adapter_that_does_not_answer_vouches_for_nothing(walls, base):
    with walls().supervise() as sandbox:
        score(sandbox)
        (base / "config.json").write_text("not JSON")
        with pytest.raises(Unvouched, match="does not answer any more"):
            sandbox.vouch()
        says(base, score=-1.0)
        assert score(sandbox).record["worker"] == 2
        sandbox.vouch()


def test_a_pool_vouches_for_all_of_its_workers(walls, base):
    with SandboxPool(walls(), 2) as pool:
        together = Barrier(2)  # so that each worker gets one of the two

        def converse(ask):
            together.wait()
            ask(question(None))

        for future in [pool.submit(Job(ADAPTER, BRIEF), converse) for _ in range(2)]:
            future.result(timeout=60)
        pool.vouch()
        pool.run(Job(ADAPTER, BRIEF), lambda ask: ask(question(None)))
        says(base, score=-2.0)
        with pytest.raises(Unvouched, match="the last 1 results are void"):
            pool.vouch()


def test_where_forked_children_cannot_compute_each_job_has_a_process_and_that_is_attested(walls, base):
    says(base, forks=False)
    with walls().supervise() as sandbox:
        results = [score(sandbox) for _ in range(2)]
        processes = sandbox.attestation()["processes"]
    assert [result.record["fresh"] for result in results] == [True, True]
    assert processes == "fresh: forked children cannot compute on this host"


@pytest.mark.model
@pytest.mark.parametrize(("threads", "survives"), [(1, True), (2, False)])
def test_the_canary_notices_a_thread_pool_that_was_used_before_the_fork(threads, survives):
    pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")
    program = (
        "import torch; from peft_assay_harness.prepare import canary_survives\n"
        f"torch.set_num_threads({threads}); torch.ones(256, 256) @ torch.ones(256, 256)\n"
        "print(canary_survives(6.0))"
    )
    environment = {"PYTHONPATH": str(SOURCES), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    if threads == 2 and done.stdout == "True\n":
        pytest.skip("this build of torch computes after such a fork")
    assert done.stdout == f"{survives}\n"


def test_a_pool_runs_jobs_side_by_side_and_keeps_them_apart(walls):
    with SandboxPool(walls(), 2) as pool:
        futures = [
            pool.submit(Job(None, BRIEF), lambda ask, do=do: ask(question(do))) for do in ("socket", None, None, "end")
        ]
        results = [future.result(timeout=60) for future in futures]
        assert pool.attestation()["processes"] == "forked"
        assert pool.base().parameters == 1
    assert [len(result.events) for result in results] == [1, 0, 0, 0]
    assert [result.outcome for result in results] == [Outcome.OK] * 3 + [Outcome.CRASH]
    with pytest.raises(ObservationError, match="closed"):
        pool.submit(Job(None, BRIEF), lambda ask: None)


def test_a_pool_starts_no_more_workers_than_jobs_meet_each_other(walls):
    with SandboxPool(walls(), 3) as pool:
        pool.base()
        alone = [pool.run(Job(ADAPTER, BRIEF), lambda ask: ask(question(None))) for _ in range(3)]
        together = Barrier(2)

        def converse(ask):
            together.wait()
            ask(question(None))

        beside = [pool.submit(Job(ADAPTER, BRIEF), converse) for _ in range(2)]
        beside = [future.result(timeout=60) for future in beside]
        pool.vouch()
    assert [result.record["job"] for result in alone] == [1, 2, 3], "one worker served them all"
    assert sorted(result.record["job"] for result in beside) == [1, 4]


@pytest.mark.parametrize(("jobs", "started"), [(0, 0), (1, 1), (2, 2), (9, 3)])
def test_as_many_workers_as_are_sure_to_be_needed_start_side_by_side(walls, jobs, started):
    with SandboxPool(walls(), 3) as pool:
        pool.expect(jobs)
        assert len(pool._members) == started
        assert pool.base().parameters == 1
        pool.attestation()
        assert len(pool._members) == max(1, started), "who asks for facts waits for those that start"
        results = [pool.submit(Job(ADAPTER, BRIEF), lambda ask: ask(question(None))) for _ in range(6)]
        assert {result.result(timeout=60).outcome for result in results} == {Outcome.OK}
        pool.expect(1)
        assert len(pool._members) <= 3
        pool.vouch()
    pool.expect(2)
    assert len(pool._members) <= 3, "a pool that is closed starts nobody"


def test_what_is_wrong_with_a_worker_that_nobody_asked_yet_is_told_by_its_first_job(walls, base):
    (base / "config.json").write_text("not JSON")
    with SandboxPool(walls(), 2) as pool:
        pool.expect(2)
        with pytest.raises(ObservationError):
            pool.base()
        with pytest.raises(ObservationError):
            pool.run(Job(ADAPTER, BRIEF), lambda ask: ask(question(None)))


@pytest.mark.parametrize("begun", [False, *[True] * 8])
def test_a_pool_can_be_closed_while_its_workers_start_however_long_that_takes(walls, base, begun):
    says(base, takes=3600)
    pool = SandboxPool(walls(), 2)
    pool.expect(2)
    until = time.monotonic() + 30
    while begun and not all(member.supervisor._starting for member in pool._members):
        assert time.monotonic() < until
        time.sleep(0.01)
    started = time.monotonic()
    pool.close()
    assert time.monotonic() - started < 30
    assert not any(member.is_alive() for member in pool._members)
    assert left_of(base) == []


def test_workers_of_a_pool_that_do_not_agree_on_the_base_serve_nobody(walls, base):
    with SandboxPool(walls(), 2) as pool:
        entered, left = Event(), Event()

        def converse(ask):
            entered.set()
            left.wait(60)
            ask(question(None))

        first = pool.submit(Job(ADAPTER, BRIEF), converse)
        assert entered.wait(60)
        says(base, score=-2.0)
        second = pool.submit(Job(ADAPTER, BRIEF), converse)
        with pytest.raises(ObservationError, match="two workers do not agree"):
            second.result(timeout=60)
        left.set()
        assert first.result(timeout=60).outcome is Outcome.OK


def test_closing_a_pool_ends_the_jobs_that_run_and_those_that_wait(walls):
    pool = SandboxPool(walls(), 1)
    entered = Event()

    def converse(ask):
        entered.set()
        ask(question("stay"))

    running, waiting = (pool.submit(Job(None, BRIEF), converse) for _ in range(2))
    assert entered.wait(60)
    started = time.monotonic()
    pool.close()
    assert time.monotonic() - started < BRIEF.wall_seconds / 2
    assert running.result(timeout=60).outcome is Outcome.CRASH
    with pytest.raises(ObservationError, match="closed"):
        waiting.result(timeout=60)


def test_as_many_workers_as_cores_and_memory_take(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"")
    monkeypatch.setattr(pool_module, "cores", lambda: 8)
    monkeypatch.setattr(pool_module, "find_room", lambda: Room(None, None))
    for available, fit in [(0, 1), (3 * pool_module.ROOM_BYTES, 3), (100 * pool_module.ROOM_BYTES, 8)]:
        monkeypatch.setattr(pool_module, "available_bytes", lambda available=available: available)
        assert pool_module.workers_that_fit(tmp_path) == fit
    with (tmp_path / "model.safetensors").open("wb") as weights:
        weights.truncate(9 * pool_module.ROOM_BYTES)
    assert pool_module.workers_that_fit(tmp_path) == 8
    with (tmp_path / "second.safetensors").open("wb") as weights:
        weights.truncate(40 * pool_module.ROOM_BYTES)
    assert pool_module.workers_that_fit(tmp_path) == 2
    (tmp_path / "second.safetensors").unlink()
    for room, fit in [
        (Room(3 * 10 * pool_module.ROOM_BYTES, None), 3),
        (Room(None, 1.5), 1),
        (Room(0, 0.1), 1),
        (Room(1 << 60, 100.0), 8),
    ]:
        monkeypatch.setattr(pool_module, "find_room", lambda room=room: room)
        assert pool_module.workers_that_fit(tmp_path) == fit


def question(do):
    return {"op": "score", "items": [{}], "do": do}
