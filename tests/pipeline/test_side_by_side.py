"""Adapters exercised at the same time: what is observed of each is what is observed of it alone."""

import json
import shutil
from dataclasses import replace
from threading import Lock as Mutex

import pytest

from peft_assay.cli import certify as door
from peft_assay.core.context import Lock
from peft_assay.core.digest import parse_digest
from pipeline.certified_world import ZOO, World

pytestmark = [pytest.mark.sandbox, pytest.mark.model]

NAMES = ("lora", "prompt", "ia3")
CASES = 4
OWN_TO_A_RUN = {"resources.latency_ratio", "resources.peak_bytes", "attempts.count"}
"""What differs from run to run: readings of the supervisor's, and how many attempts there were."""


class Counting:
    """A sandbox that notes how many jobs ran at the same time at most."""

    def __init__(self, sandbox):
        self._sandbox, self._mutex = sandbox, Mutex()
        self.running = self.most = 0

    def __getattr__(self, name):
        return getattr(self._sandbox, name)

    def run(self, job, converse):
        with self._mutex:
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            return self._sandbox.run(job, converse)
        finally:
            with self._mutex:
                self.running -= 1


@pytest.fixture
def opened(monkeypatch):
    """The sandboxes that were opened."""
    found = []
    opener = door.sandbox_opener

    def counting(*given, **more):
        open_sandbox = opener(*given, **more)
        return lambda project, adapters: found.append(Counting(open_sandbox(project, adapters))) or found[-1]

    monkeypatch.setattr(door, "sandbox_opener", counting)
    return found


def world(folder, *names, section=""):
    made = World(folder)
    shutil.copytree(ZOO, made.project, ignore=shutil.ignore_patterns("adapters", "build", ".peft-assay"))
    text = made.document.read_text()
    made.document.write_text(text[: text.index("\nscan:")] + text[text.index("\nrights:") :] + section)
    for cases in made.project.glob("suites/*/cases.jsonl"):
        cases.write_text("".join(cases.read_text().splitlines(keepends=True)[:CASES]))
    for name in names:
        shutil.copytree(ZOO / "adapters" / name, made.project / "adapters" / name)
    assert made.run("init", ".").code == 0
    return made


def observed(made, names, *options):
    """Name of the adapter -> its observations by name, but for what is the run's own."""
    reports = made.json("certify", *map(made.adapter, names), "--fresh", *options).document
    return {report["adapter"]: dict(_observations(made, report)) for report in reports}


def _observations(made, report):
    with made.open() as deployment:
        lock = Lock(json.loads(deployment.workspace.blobs.get(parse_digest(report["lock"]))))
        artifact = parse_digest(report["artifact"]["digest"])
        envelope = deployment.workspace.latest_observations(artifact, lock.conditions)
        for seen in deployment.record_of(envelope).observations.observations:
            if seen.name not in OWN_TO_A_RUN:
                yield seen.name, replace(seen, evidence=None)


def test_side_by_side_the_same_is_observed_as_one_after_another(tmp_path, opened):
    made = world(tmp_path, *NAMES)
    alone = observed(made, NAMES, "--workers", "1")
    beside = observed(made, NAMES, "--workers", "2")
    assert [sandbox.most > 1 for sandbox in opened] == [False, True]
    assert set(alone) == set(NAMES)
    assert {
        name: [(one, alone[name].get(one)) for one in terms if terms[one] != alone[name].get(one)]
        for name, terms in beside.items()
    } == {name: [] for name in NAMES}
    assert beside == alone
    assert {terms["sandbox.events"].value for terms in alone.values()} == {0}


def test_adapters_are_timed_one_after_another_whoever_asks_for_more(tmp_path, opened):
    names = ("lora", "prompt")
    observed(world(tmp_path, *names, section="\nbehaviour:\n  latency: true\n"), names, "--workers", "2")
    assert [sandbox.most for sandbox in opened] == [1]


def test_a_run_of_few_adapters_starts_one_worker(tmp_path, opened):
    made = world(tmp_path, "lora")
    observed(made, ["lora"])
    assert opened[0].at_once == 1
    assert made.run("certify", made.adapter("lora"), "--workers", "0").code == 2
