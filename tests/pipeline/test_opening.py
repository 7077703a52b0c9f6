"""The sandbox is opened while adapters are taken in: who is told what, and that it is closed in any case."""

import shutil
import threading

import pytest

from peft_assay.cli import certify as door
from peft_assay.core.errors import ObservationError
from peft_assay.pipeline.certify import _opening
from pipeline.certified_world import ZOO, World


class Closing:
    def __init__(self):
        self.closed, self.expected = 0, []

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

    with _opening(slow, "project", 5, 3) as opened:
        taken_in.set()
        assert opened() is sandbox
        assert opened() is sandbox
        assert not sandbox.closed
    assert given == [("project", 5)]
    assert sandbox.expected == [3]
    assert sandbox.closed == 1


@pytest.mark.parametrize("waited", [True, False])
def test_it_is_closed_when_something_else_goes_wrong(waited):
    sandbox = Closing()
    with pytest.raises(KeyboardInterrupt), _opening(lambda *_: sandbox, "project", 1, 1) as opened:
        if waited:
            opened()
        raise KeyboardInterrupt
    assert sandbox.closed == 1


def test_why_it_cannot_be_opened_is_told_to_whoever_waits_for_it():
    with pytest.raises(ObservationError, match="no walls here"), _opening(fails, "project", 1, 1) as opened:
        opened()


def test_nobody_is_told_where_nobody_waits():
    with _opening(fails, "project", 1, 1):
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
