"""Which level follows from what was found, and what is said where it is not the highest."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import IsolationLevel, Job, Limits, Outcome
from peft_assay.pipeline.documents import Level
from peft_assay.sandbox import choose, remedies
from peft_assay.sandbox.choose import open_sandbox
from peft_assay.sandbox.interface import SandboxConfiguration
from peft_assay.sandbox.microsuite import ATTACKS, LANDLOCK_ONLY, NAMESPACE_ONLY, Findings

EVERYTHING = dict.fromkeys(ATTACKS, True)
BITING = {"memory": True, "processes": True}
flags = st.booleans()


@given(
    st.fixed_dictionaries(dict.fromkeys(ATTACKS, flags)), st.integers(0, 7), st.sampled_from(IsolationLevel), st.data()
)
def test_one_more_open_door_never_raises_the_level(stopped, abi, ceiling, data):
    bounds = data.draw(st.fixed_dictionaries({"memory": flags, "processes": flags, "cpu": flags}))
    before = Findings(stopped, abi, (), bounds).level(ceiling)
    name = data.draw(st.sampled_from(sorted(ATTACKS)))
    assert Findings(stopped | {name: False}, abi, (), bounds).level(ceiling) <= before
    bound = data.draw(st.sampled_from(sorted(bounds)))
    assert Findings(stopped, abi, (), bounds | {bound: False}).level(ceiling) <= before
    assert before <= IsolationLevel.NAMESPACE_CGROUP
    assert before is IsolationLevel.NONE or before <= max(ceiling, IsolationLevel.NAMESPACE_CGROUP)


def test_a_group_raises_namespaces_only_and_only_where_it_bites():
    assert Findings(EVERYTHING, 7, (), BITING).level(IsolationLevel.NAMESPACE) is IsolationLevel.NAMESPACE_CGROUP
    assert Findings(EVERYTHING, 7, (), BITING).level(IsolationLevel.PROCESS) is IsolationLevel.PROCESS
    for bound in BITING:
        weaker = Findings(EVERYTHING, 7, (), BITING | {bound: False})
        assert weaker.level(IsolationLevel.NAMESPACE) is IsolationLevel.NAMESPACE
    without_cpu = Findings(EVERYTHING, 7, (), BITING | {"cpu": False})
    assert without_cpu.level(IsolationLevel.NAMESPACE) is IsolationLevel.NAMESPACE_CGROUP


def test_a_kernel_without_landlock_is_worth_less_and_a_child_that_goes_without_is_worth_nothing():
    unlisted = EVERYTHING | dict.fromkeys(LANDLOCK_ONLY, False)
    assert Findings(unlisted, 0, (), BITING).level(IsolationLevel.NAMESPACE) is IsolationLevel.PROCESS
    assert Findings(unlisted, 7, (), BITING).level(IsolationLevel.NAMESPACE) is IsolationLevel.NONE
    both = unlisted | dict.fromkeys(NAMESPACE_ONLY, False)
    assert Findings(both | {"read-host-file": False}, 0).level(IsolationLevel.PROCESS) is IsolationLevel.NONE


@pytest.mark.parametrize("system", ["Darwin", "Windows"])
def test_another_system_says_what_is_missing(system, tmp_path, monkeypatch):
    monkeypatch.setattr(choose.platform, "system", lambda: system)
    for unsafe in (False, True):
        with pytest.raises(ObservationError, match=system) as caught:
            open_sandbox(SandboxConfiguration(base=tmp_path), allow_unsafe=unsafe)
        assert "Linux" in caught.value.next_step


@pytest.mark.parametrize(
    ("switches", "command"),
    [
        ({"user/max_user_namespaces": "0"}, "sysctl -w user.max_user_namespaces"),
        ({"kernel/unprivileged_userns_clone": "0"}, "sysctl -w kernel.unprivileged_userns_clone=1"),
        ({"kernel/apparmor_restrict_unprivileged_userns": "1"}, "bwrap-userns-restrict"),
        ({}, "seccomp profile"),
        ({"user/max_user_namespaces": "not a number"}, "seccomp profile"),
    ],
)
def test_the_remedy_is_the_switch_that_is_off(switches, command, tmp_path):
    for name, value in switches.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(value)
    assert command in remedies.remedy_for("namespace", tmp_path)


def test_walls_cannot_be_left_out_by_name_alone(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ObservationError, match="without walls"):
        open_sandbox(SandboxConfiguration(base=tmp_path), force="none")
    with pytest.raises(ObservationError, match="without walls"):
        open_sandbox(SandboxConfiguration(base=tmp_path, backend="none"))


def test_no_project_can_ask_for_less_than_the_lowest_level():
    for value in ("none", 0, IsolationLevel.NONE):
        with pytest.raises(ValidationError):
            TypeAdapter(Level).validate_python(value)


@pytest.mark.sandbox
@pytest.mark.model
def test_what_is_observed_without_walls_says_so(zoo, base, exercise):
    pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")
    with open_sandbox(SandboxConfiguration(base=base), force="none", allow_unsafe=True) as sandbox:
        result, (loaded,) = exercise(sandbox, zoo("lora"), {"op": "load"})
        document = sandbox.attestation()
    assert (result.outcome, loaded["loaded"]) == (Outcome.OK, True)
    assert sandbox.probe().level is IsolationLevel.NONE
    assert (document["level"], document["landlockAbi"], document["walls"]["backend"]) == (0, 0, "none")
    assert not any(document["attacks"].values())


@pytest.mark.sandbox
def test_walls_are_preferred_even_where_going_without_is_allowed(base):
    try:
        sandbox = open_sandbox(SandboxConfiguration(base=base))
    except ObservationError as error:
        pytest.skip(f"no sandbox on this host: {error}")
    with sandbox, open_sandbox(SandboxConfiguration(base=base), allow_unsafe=True) as other:
        assert other.probe().level is sandbox.probe().level > IsolationLevel.NONE


@pytest.mark.sandbox
def test_going_without_walls_names_what_each_backend_lacks(base, monkeypatch):
    def missing():
        raise ObservationError("not here", next_step="get it")

    for name in choose.BACKENDS:
        monkeypatch.setitem(choose.BACKENDS, name, missing)
    with open_sandbox(SandboxConfiguration(base=base), allow_unsafe=True) as sandbox:
        assert sandbox.probe().level is IsolationLevel.NONE
        assert sandbox.probe().missing == tuple(f"{name}: not here (get it)" for name in choose.BACKENDS)


def test_levels_are_ordered():
    assert all(a < b for a, b in itertools.pairwise(IsolationLevel))
    assert Job(None, Limits()).compartment == ""
