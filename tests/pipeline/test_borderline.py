"""An adapter at the very threshold gets one verdict, however often it is certified: one case more or less would turn it."""

import shutil
from pathlib import Path

import pytest

from peft_assay.cli.isolation import sandbox_opener
from peft_assay.cli.main import run
from peft_assay.core.verdict import Outcome
from peft_assay.pipeline.certify import certify
from peft_assay.pipeline.deployment import Deployment, utc_now
from peft_assay.pipeline.place import Place
from peft_assay.pipeline.sources import Located

pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

pytestmark = [pytest.mark.sandbox, pytest.mark.model]

ZOO = Path(__file__).parents[2] / "examples" / "zoo"
ADAPTER = ZOO / "adapters" / "regressed"
"""A checkpoint of an early step: many of its answers hang by a hair."""
TIMES, CASES = 30, 16
PROJECT = f"""apiVersion: peft-assay/v1
kind: Assay
context:
  name: borderline
  purpose: shows that a verdict is repeatable
  base: {{path: {ZOO / "base"}, licence: apache-2.0}}
policy: ./policy.yaml
suites: [./lookups/suite.yaml, ./support_task/suite.yaml]
"""
POLICY = """apiVersion: peft-assay/v1
kind: Policy
id: borderline
description: Admits what does the task no worse than the floor.
params: {{floor: {floor!r}}}
rules:
  - id: task
    assert: suite.support_task.lower >= params.floor
    why: It does not do the task well enough.
    next: "peft-assay report {{source}}"
"""


class Kept:
    """A sandbox that stays open over several certifications, so that thirty of them start one worker."""

    def __init__(self, sandbox):
        self._sandbox = sandbox

    def __getattr__(self, name):
        return getattr(self._sandbox, name)

    def close(self):
        pass


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "project"
    for name in ("lookups", "support_task"):
        (folder / name).mkdir(parents=True)
        shutil.copy(ZOO / "suites" / name / "suite.yaml", folder / name)
        lines = (ZOO / "suites" / name / "cases.jsonl").read_text().splitlines(keepends=True)
        (folder / name / "cases.jsonl").write_text("".join(lines[: CASES if name == "support_task" else 2]))
    (folder / "peft-assay.yaml").write_text(PROJECT)
    (folder / "policy.yaml").write_text(POLICY.format(floor=0.0))
    assert run(["init", str(folder), "--trust", str(tmp_path / "trust")]) == 0
    return folder


@pytest.fixture
def once(project, tmp_path):
    """Certifies the adapter once more, observing everything anew; gives outcome and what the suite measured."""
    opened = []

    def open_sandbox(loaded, adapters):
        opened.append(opened[0] if opened else Kept(sandbox_opener(None)(loaded, adapters)))
        return opened[0]

    def certify_once(floor):
        (project / "policy.yaml").write_text(POLICY.format(floor=floor))
        with Deployment.open(Place(project / "peft-assay.yaml", None, tmp_path / "trust"), create=True) as deployment:
            [done] = certify(
                deployment,
                [Located("regressed", ADAPTER)],
                open_sandbox=open_sandbox,
                clock=utc_now,
                progress=lambda *_: None,
                fresh=True,
            )
        assert not done.reused
        return done.outcome, done.record.observations.get("suite.support_task.lower").value

    yield certify_once
    if opened:
        opened[0]._sandbox.close()


def test_a_borderline_adapter_certified_thirty_times_gets_one_verdict(once):
    _, measured = once(0.0)
    assert 0.0 < measured < 0.8, "not borderline: choose another adapter"
    found = {once(measured) for _ in range(TIMES)}
    assert found == {(Outcome.PASS, measured)}
    assert once(measured + 1e-9) == (Outcome.FAIL, measured)
