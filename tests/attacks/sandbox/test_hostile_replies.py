"""One adapter's replies end the run of no other: whatever they hold, the run goes on and names the culprit.

Replies lie in one field after the other, of every operation, from within the schema and from without. Here they pass
through the product's reader, its probes, its policy and its signatures, first in this process, so that there can be
thousands of them, then some of them behind real walls.
"""

import contextlib
import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attacks.sandbox.lying_worker.honest import PLACES, STATE, VOCABULARY, answer
from attacks.sandbox.lying_worker.lies import LIES, NUMBERS, lie
from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.errors import DocumentError, Door, ObservationError, StorageError, first_door
from peft_assay.core.sandbox import BaseFacts, Capability, ChildGone, IsolationLevel, Outcome, Result, Usage
from peft_assay.core.verdict import Outcome as Verdict
from peft_assay.observe.behaviour.divergence import _sum
from peft_assay.observe.behaviour.endings import is_loop
from peft_assay.observe.behaviour.probes.leaks import LeaksRecord, overrepresented
from peft_assay.observe.behaviour.probes.suites import SuitesProbe
from peft_assay.pipeline import certify as certifying
from peft_assay.pipeline import observing
from peft_assay.pipeline.certify import certify
from peft_assay.pipeline.deployment import utc_now
from peft_assay.pipeline.sources import Located
from peft_assay.report import jsonout, terminal
from peft_assay.sandbox.choose import BACKENDS, Chosen
from peft_assay.sandbox.interface import JOBS_PER_WORKER, Program, SandboxConfiguration
from peft_assay.sandbox.microsuite import ATTACKS, Findings
from peft_assay.sandbox.possible import Possible, bounded
from peft_assay.sandbox.replies import read_reply
from peft_assay.sandbox.surroundings import harness_program, mounts_for
from pipeline.certified_world import ZOO, World
from pipeline.suite_projects import write_project, write_suite

FIRST_LIE = 1000
WORKER = Path(__file__).parent / "lying_worker"
POLICY = """apiVersion: peft-assay/v1
kind: Policy
id: task
description: Admits what does the task, and whose process did nothing else.
rules:
  - id: task
    assert: sandbox.events == 0 && suite.task.complete && suite.task.passes == suite.task.n
    why: It does not do the task.
    next: "peft-assay report {source}"
"""
TRUE = LIES.index(("load", "loaded", "number", next(at for at, number in enumerate(NUMBERS) if number is True)))
"""A lie that is none."""


@pytest.fixture(scope="module")
def world():
    """A project that asks every operation: texts, choices, likelihoods, scan, proposals, leaks, scales, variations."""
    root = Path(tempfile.mkdtemp(prefix="assay-lies-"))
    root.chmod(0o755)
    world = World(root)
    cases = [{"id": f"c{n}", "prompt": f"question {n} ?"} for n in range(6)]
    texts = [{**case, "expected": f"answer {case['id'][1:]}"} for case in cases]
    choices = [{**case, "choices": ["one", "two", "three"], "answer": n % 3} for n, case in enumerate(cases)]
    public = {"confidentiality": "public"}
    write_suite(world.project / "task", public, texts)
    write_suite(
        world.project / "pick", {**public, "id": "pick", "measure": "choice", "scorer": {"kind": "choice"}}, choices
    )
    likely = {"measure": "likelihood", "scorer": {"kind": "perplexity", "maximum": 50.0}}
    write_suite(world.project / "texts", {**public, "id": "texts", **likely}, texts)
    (world.project / "policy.yaml").write_text(POLICY)
    (world.project / "tokens.txt").write_text("zorn\nmauve\n")
    write_project(
        world.project,
        policy="./policy.yaml",
        suites=["task/suite.yaml", "pick/suite.yaml", "texts/suite.yaml"],
        scan={"tokens": "./tokens.txt", "answers": "task", "proposals": 2},
        behaviour={"offTask": ["task"], "scales": [0.5, 1.5], "leaks": {"samples": 20}, "variations": ["length"]},
    )
    assert world.run("init", ".").code == 0, world.run("init", ".")
    yield world
    shutil.rmtree(root)


def source(world, name, strength, dropout=0.0):
    folder = world.project / "adapters" / name
    if not folder.exists():
        shutil.copytree(ZOO / "adapters" / "lora", folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    changed = {**config, "lora_alpha": strength, "lora_dropout": dropout}
    (folder / "adapter_config.json").write_text(json.dumps(changed))
    return Located(str(folder), folder)


READ = bounded(read_reply, Possible(VOCABULARY, PLACES))


class Replaying:
    """A sandbox whose child is a function: its replies go through the product's reader as those of a process do."""

    at_once = 1

    def __init__(self, *, everywhere=True, read=READ):
        self.everywhere, self.read = everywhere, read
        self.refused = {}
        """By lie: why its reply was refused."""

    def probe(self):
        return Capability(IsolationLevel.NAMESPACE, {}, ())

    def expect(self, jobs):
        pass

    def base(self):
        return BaseFacts(STATE, 1, {})

    def attestation(self):
        digest = "sha256:" + "1" * 64
        return {"level": 20, "harness": digest, "processes": "forked", "sentinel": digest}

    def vouch(self):
        pass

    def close(self):
        pass

    def run(self, job, converse):
        number = -1 if job.adapter is None else strength_of(job.adapter) - FIRST_LIE
        gone = []

        def ask(request):
            reply = answer(request)
            told = reply if number < 0 else lie(reply, number, everywhere=self.everywhere)
            try:
                return self.read(request, json.dumps(told).encode())
            except DocumentError as error:
                self.refused[number] = str(error)
                gone.append(str(error))
                raise ChildGone(str(error)) from None

        with contextlib.suppress(ChildGone):
            converse(ask)
        if gone:
            return Result(Outcome.INVALID_OUTPUT, (), Usage(0.1, 0.1, 10), gone[0])
        return Result(Outcome.OK, (), Usage(0.1, 0.1, 10, 1 << 20), "")


def certified(world, sandbox, sources):
    with world.open() as deployment:
        done = certify(
            deployment, sources, open_sandbox=lambda *_: sandbox, clock=utc_now, progress=lambda *_: None, fresh=True
        )
        reports = [certifying_report(deployment, item) for item in done]
        deployment.workspace.audit()
    return done, reports


def certifying_report(deployment, item):
    from peft_assay.pipeline.reporting import certification_report

    report = certification_report(deployment, item, utc_now())
    terminal.certification([report], tty=False)
    jsonout.certification([report])
    assert report.door == item.door
    return report


def with_lies(world, *numbers, everywhere=True):
    """An honest adapter, some that lie, another honest one: what became of those that lie, by lie."""
    liars = [source(world, f"liar-{at}", FIRST_LIE + number, at / 100) for at, number in enumerate(numbers)]
    replaying = Replaying(everywhere=everywhere)
    given = [source(world, "0-honest", 16), *liars, source(world, "9-honest", 16, 0.2)]
    done, reports = certified(world, replaying, given)
    assert [item.name for item in done] == ["0-honest", *(f"liar-{at}" for at in range(len(liars))), "9-honest"]
    assert [item.outcome for item in (done[0], done[-1])] == [Verdict.PASS] * 2, [LIES[number] for number in numbers]
    return dict(zip(numbers, zip(done[1:-1], reports[1:-1], strict=True), strict=True)), replaying


def with_lie(world, number):
    found, replaying = with_lies(world, number)
    return *found[number], replaying


def strength_of(files):
    return json.loads(files["adapter_config.json"])["lora_alpha"]


def test_without_a_lie_all_three_are_admitted(world):
    """The control of everything below: the project asks every operation, and honest replies are taken."""
    asked = set()

    class Listening(Replaying):
        def __init__(self):
            super().__init__(read=self.listen)

        def listen(self, request, content):
            asked.add(request["op"])
            return READ(request, content)

    honest = [source(world, "0-honest", 16), source(world, "9-honest", 16, 0.2)]
    done, _ = certified(world, Listening(), honest)
    assert [item.outcome for item in done] == [Verdict.PASS] * 2
    assert asked == {"load", "apply", "measure", "effect", "scale", "choices", "score", "generate", "propose"}
    names = {
        observation.name for observation in done[0].record.observations.observations if observation.value is not None
    }
    assert {"scale.modules", "drift.off_task_kl", "leaks.samples", "scan.tokens", "variation.n"} <= names


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(numbers=st.lists(st.integers(0, len(LIES) - 1), min_size=8, max_size=8, unique=True), everywhere=st.booleans())
def test_no_lie_ends_the_run_and_each_that_is_refused_names_its_adapter(world, numbers, everywhere):
    found, replaying = with_lies(world, *numbers, everywhere=everywhere)
    for number in replaying.refused:
        item, report = found[number]
        assert (item.outcome, item.door) == (Verdict.INDETERMINATE, Door.UNOBSERVED), LIES[number]
        assert "reply of the sandbox" in report.reason


@pytest.mark.parametrize(
    ("op", "field", "value"),
    [
        ("generate", "entropy", 1e308),
        ("scale", "modules", 10**30),
        ("score", "counts", 2**31 - 1),
        ("generate", "best", 2**53),
    ],
)
def test_what_no_model_gives_is_refused_by_the_reader_and_the_exit_code_is_4(op, field, value, world):
    number = LIES.index((op, field, "number", NUMBERS.index(value)))
    item, report, sandbox = with_lie(world, number)
    assert sandbox.refused
    assert (item.outcome, item.door, int(first_door([item.door, Door.PASSED]))) == (
        Verdict.INDETERMINATE,
        Door.UNOBSERVED,
        4,
    )
    assert "void" in report.reason


def test_positive_control_the_same_numbers_raise_where_nothing_bounds_them():
    with pytest.raises(OverflowError):
        _sum([1e308] * 4)
    with pytest.raises(ValueError, match=r"number|integer|range"):
        canonical_bytes({"modules": 10**30})


@pytest.mark.parametrize("refused", ["token", "entropy", "modules", "labels"])
def test_what_this_base_cannot_give_is_refused_though_another_could(refused):
    """Neighbours of the extremes: numbers that are ordinary, and too large for the base at hand."""
    trace = {"chosen": [-1.0], "best": [5], "entropy": [0.5], "ids": [[1]], "logProbabilities": [[-1.0]]}
    asked = {"op": "generate", "prompts": ["a"], "maxNewTokens": 1, "top": 1}
    reply = {"op": "generate", "texts": ["b"], "tokens": [[5]], "traces": [trace]}
    questions = {
        "token": (asked, {**reply, "tokens": [[300]], "traces": [{**trace, "best": [300]}]}),
        "entropy": (asked, {**reply, "traces": [{**trace, "entropy": [6.0]}]}),
        "modules": ({"op": "scale", "factor": 2.0}, {"op": "scale", "modules": 41}),
        "labels": ({"op": "classify", "prompts": ["a"]}, {"op": "classify", "logits": [[0.0] * 4]}),
    }
    request, said = questions[refused]
    content = json.dumps(said).encode()
    assert read_reply(request, content), "the control: some model could answer so"
    with pytest.raises(DocumentError, match="and "):
        bounded(read_reply, Possible(VOCABULARY, PLACES, labels=3))(request, content)
    assert bounded(read_reply, Possible())(request, content), (
        "a worker that does not say how large it is bounds nothing"
    )


@pytest.mark.parametrize("stage", ["asking", "concluding", "describing", "signing", "keeping"])
def test_whatever_fails_on_one_adapter_voids_it_alone(stage, world, monkeypatch):
    """For failures that nobody thought of: each stage is made to raise for one adapter, and for no other."""
    liar = source(world, "liar-0", FIRST_LIE + TRUE)

    def failing(call, concerns):
        def wrapped(*given, **named):
            if concerns(given):
                raise ZeroDivisionError("as an unforeseen reply might cause")
            return call(*given, **named)

        return wrapped

    marked = []

    def converse(sandbox, files, *rest):
        marked.append(strength_of(files) >= FIRST_LIE)
        return exercised(sandbox, files, *rest)

    exercised = observing.exercise
    monkeypatch.setattr(observing, "exercise", converse)
    now = lambda _: bool(marked and marked[-1])  # noqa: E731
    digest = lambda given: given[0].artifact.digest if stage == "signing" else given[1]  # noqa: E731
    if stage == "asking":
        monkeypatch.setattr(SuitesProbe, "ask", failing(SuitesProbe.ask, now))
    elif stage == "concluding":
        monkeypatch.setattr(SuitesProbe, "observe", failing(SuitesProbe.observe, now))
    elif stage == "describing":
        monkeypatch.setattr(
            observing,
            "what_was_tested",
            failing(observing.what_was_tested, lambda given: now(given) and given[0].records.of(SuitesProbe.kind)),
        )
    else:
        with world.open() as deployment:
            bad = deployment_digest(deployment, liar)
        target = (observing, "observation_document") if stage == "signing" else (observing.AnswerBook, "keep")
        once = []
        concerns = lambda given: digest(given) == bad and not once and once.append(1) is None  # noqa: E731
        monkeypatch.setattr(*target, failing(getattr(*target), concerns))
    item, report, _ = with_lie(world, TRUE)
    assert (item.outcome, item.door) == (Verdict.INDETERMINATE, Door.UNOBSERVED)
    assert "ZeroDivisionError" in report.reason
    again, _, _ = with_lie(world, TRUE) if stage == "keeping" else (item, None, None)
    assert again.reused is False


def deployment_digest(deployment, located):
    from peft_assay.intake.admit import admit

    return admit(located.found()).artifact.digest


def test_positive_control_without_the_net_such_a_failure_ends_everything(world, monkeypatch):
    def observe(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(SuitesProbe, "observe", observe)
    plain = observing.Observing._concluded
    assert plain is not None
    monkeypatch.setattr(
        observing.Observing,
        "_concluded",
        lambda self, due, ran: observing.Unsigned(
            due.attempted, due.started_at, due.started_at, self._behaviour(ran, due.plan), ran
        ),
    )
    with pytest.raises(ZeroDivisionError):
        certified(world, Replaying(), [source(world, "0-honest", 16)])


@pytest.mark.parametrize("stage", ["looking at it", "judging it"])
def test_what_fails_before_and_after_observing_is_one_adapters_too(stage, world, monkeypatch):
    name = "take_in" if stage == "looking at it" else "with_waivers"
    call, times = getattr(certifying, name), []

    def second(*given):
        times.append(1)
        if len(times) == 2:
            raise RecursionError("as deep text might cause")
        return call(*given)

    monkeypatch.setattr(certifying, name, second)
    item, report, _ = with_lie(world, TRUE)
    assert (item.outcome, item.door) == (Verdict.INDETERMINATE, Door.UNOBSERVED)
    assert stage in report.reason
    assert "RecursionError" in report.reason
    assert report.next_step


def test_a_full_disk_is_nobodys_lie(world, monkeypatch):
    def full(*_, **__):
        raise StorageError("disk full")

    with world.open() as deployment:
        workspace = type(deployment.workspace)
    monkeypatch.setattr(workspace, "add_observations", full)
    with pytest.raises(StorageError):
        certified(world, Replaying(), [source(world, "0-honest", 16)])


# Time: what replies cost the supervisor grows with their length and not with its square.


def test_loops_are_found_in_linear_time():
    """A hundred times the tokens of any answer; with a loop over periods it took minutes, now it is one pass."""
    tokens = ([1] * 199 + [2]) * 3 + [1] * 200_000 + [2] + [1] * 150_000
    assert is_loop(tokens) is False
    assert is_loop(tokens + [7, 8] * 200_000)


@given(st.lists(st.integers(0, 2), max_size=24))
def test_loops_are_what_they_were(tokens):
    def plainly(values):
        for period in range(1, len(values) // 4 + 1):
            covered = period
            while covered < len(values) and values[-1 - covered] == values[-1 - covered + period]:
                covered += 1
            if covered >= 4 * period and 2 * covered >= len(values):
                return True
        return False

    assert is_loop(tokens) == plainly(tokens)


def test_as_many_words_as_replies_hold_cost_one_test_for_each_pair_of_counts(monkeypatch):
    from peft_assay.observe.behaviour.probes import leaks

    asked = []
    chance = leaks._chance
    monkeypatch.setattr(leaks, "_chance", lambda *given: (asked.append(given), chance(*given))[1])
    own = LeaksRecord(20, {}, {f"w{number}": 1 + number % 5 for number in range(50_000)})
    assert list(overrepresented(own, LeaksRecord(20, {}, {}))) == []
    assert len(asked) == 5


def test_a_sample_that_its_tokens_cannot_hold_is_no_sample(world):
    number = LIES.index(("generate", "texts", "text", 5))
    item, report, _ = with_lie(world, number)
    assert item.door in {Door.UNOBSERVED, Door.FAILED}
    assert report.reason


# Behind real walls.


def behind(backend):
    def open_sandbox(project, _):
        program = Program("lying_worker", (WORKER, *harness_program().folders))
        configuration = SandboxConfiguration(base=project.base_path, sentinel_every=JOBS_PER_WORKER)
        mounts = mounts_for(program, project.base_path.absolute())
        return Chosen(
            backend, program, mounts, configuration, Findings(dict.fromkeys(ATTACKS, True), 7), (), None
        ).supervise()

    return open_sandbox


TOLD = (("generate", "entropy", "number", 1e308), ("scale", "modules", "number", 10**30), ("score", "counts", "shape", 2),
        ("generate", "texts", "text", 5), ("effect", "baseState", "text", 8))  # fmt: skip


@pytest.mark.sandbox
def test_liars_among_honest_ones_behind_real_walls(world):
    for make in BACKENDS.values():
        try:
            backend = make()
            break
        except ObservationError:
            continue
    else:
        pytest.skip("no walls on this host")
    numbers = [LIES.index((*lied[:3], NUMBERS.index(lied[3]) if lied[2] == "number" else lied[3])) for lied in TOLD]
    liars = [source(world, f"liar-{at}", 1000 + number, at / 100) for at, number in enumerate(numbers)]
    honest = [source(world, f"honest-{at}", 16, at / 100) for at in range(3)]
    given = [honest[0], *liars[:3], honest[1], *liars[3:], honest[2]]
    with world.open() as deployment:
        done = certify(
            deployment, given, open_sandbox=behind(backend), clock=utc_now, progress=lambda *_: None, fresh=True
        )
    outcomes = {item.name: (item.outcome, item.door) for item in done}
    assert {outcomes[f"honest-{at}"] for at in range(3)} == {(Verdict.PASS, Door.PASSED)}
    assert {outcomes[f"liar-{at}"] for at in (0, 1, 2, 4)} == {(Verdict.INDETERMINATE, Door.UNOBSERVED)}
    assert outcomes["liar-3"][0] is not Verdict.PASS
    assert int(first_door(item.door for item in done)) == 4
