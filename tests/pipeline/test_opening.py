"""The sandbox is opened while adapters are taken in: who is told what, and that it is closed in any case."""

import shutil
import threading
from concurrent.futures import Future
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest

from peft_assay.cli import certify as door
from peft_assay.cli import isolation
from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.pipeline.certify import _opening
from peft_assay.pipeline.place import Place
from peft_assay.pipeline.project import load_project
from peft_assay.sandbox.interface import SandboxConfiguration
from pipeline.certified_world import ZOO, World

STAND = SimpleNamespace(
    project=SimpleNamespace(context=SimpleNamespace(minimum_isolation=IsolationLevel.PROCESS)),
    anchor=SimpleNamespace(minimum_isolation=IsolationLevel.PROCESS),
)
"""What opening a sandbox reads of a deployment."""


class Closing:
    def __init__(self):
        self.closed, self.expected = 0, []

    def probe(self):
        return SimpleNamespace(level=IsolationLevel.PROCESS)

    def expect(self, jobs):
        self.expected.append(jobs)

    def close(self):
        self.closed += 1


def fails(*_):
    raise ObservationError("no walls here")


def test_it_is_opened_meanwhile_for_all_that_were_named_and_closed_once():
    sandbox, taken_in, given = Closing(), threading.Event(), []

    def slow(*what):
        given.append(what)
        assert taken_in.wait(20), "intake waited for the sandbox"
        return sandbox

    with _opening(slow, STAND, 5, 3) as opened:
        taken_in.set()
        assert opened() is sandbox
        assert opened() is sandbox
        assert not sandbox.closed
    assert given == [(STAND.project, 5)]
    assert sandbox.expected == [3]
    assert sandbox.closed == 1


def test_it_is_closed_where_nothing_can_be_got_ready():
    class Full(Closing):
        def expect(self, jobs):
            raise RuntimeError("no more threads")

    sandbox = Full()
    with pytest.raises(RuntimeError, match="no more threads"), _opening(lambda *_: sandbox, STAND, 1, 1) as opened:
        opened()
    assert sandbox.closed == 1


@pytest.mark.parametrize("waited", [True, False])
def test_it_is_closed_when_something_else_goes_wrong(waited):
    sandbox = Closing()
    with pytest.raises(KeyboardInterrupt), _opening(lambda *_: sandbox, STAND, 1, 1) as opened:
        if waited:
            opened()
        raise KeyboardInterrupt
    assert sandbox.closed == 1


def test_why_it_cannot_be_opened_is_told_to_whoever_waits_for_it():
    with pytest.raises(ObservationError, match="no walls here"), _opening(fails, STAND, 1, 1) as opened:
        opened()


def test_nobody_is_told_where_nobody_waits():
    with _opening(fails, STAND, 1, 1):
        pass


def test_a_refused_adapter_is_refused_whether_or_not_there_is_a_sandbox(tmp_path, monkeypatch):
    made = World(tmp_path)
    shutil.copytree(ZOO, made.project, ignore=shutil.ignore_patterns("adapters", "build", ".peft-assay"))
    broken = made.project / "adapters" / "broken"
    broken.mkdir(parents=True)
    (broken / "adapter_config.json").symlink_to("/etc/hostname")
    assert made.run("init", ".").code == 0
    monkeypatch.setattr(door, "sandbox_opener", lambda *_, **__: fails)
    refused = made.run("certify", made.adapter("broken"))
    assert refused.code == 3
    assert "no walls here" not in refused.out + refused.err
    shutil.copytree(ZOO / "adapters" / "lora", made.project / "adapters" / "lora")
    told = made.run("certify", made.adapter("lora"), made.adapter("broken"))
    assert "no walls here" in told.err
    assert told.code == 4


@dataclass(frozen=True)
class Tried:
    configuration: SandboxConfiguration

    def supervise(self):
        return self


def test_walls_are_tried_anew_where_the_document_was_edited_meanwhile(monkeypatch):
    begun = []

    def begin(document, path, backend, place):
        begun.append((document, path))
        trying = Future()
        trying.set_result(Tried(SandboxConfiguration(base=path)))
        return trying

    monkeypatch.setattr(isolation, "_begin", begin)
    path = ZOO / "peft-assay.yaml"
    project = load_project(path)
    open_sandbox = isolation.sandbox_opener(None, 1, ahead=Place(path))
    assert begun == [(project.document, path)]
    assert open_sandbox(project, 1).configuration.limits.wall_seconds == project.limits.wall_seconds
    assert len(begun) == 1
    limits = project.document.limits.model_copy(update={"wallSeconds": 7})
    edited = replace(project, document=project.document.model_copy(update={"limits": limits}))
    open_sandbox(edited, 1)
    assert begun[1:] == [(edited.document, path)]
    isolation.sandbox_opener(None, 1)(project, 1)
    assert len(begun) == 3
