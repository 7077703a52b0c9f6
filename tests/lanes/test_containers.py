"""In a container whose runtime answers system calls itself: what cannot be seen is told, and the level is no lower for it."""

import sys
from pathlib import Path

import pytest

from lanes.lane_support import Person, attestations, barrier, needs_landlock, needs_root, stranger
from lanes.test_doctor import examined, states
from peft_assay.core.errors import Door
from peft_assay.core.sandbox import IsolationLevel

pytestmark = pytest.mark.sandbox

UNSEEN = ["io-uring", "new-namespace"]
"""Start-up attacks that the runtime's profile refuses before the supervisor's filter is asked."""


@pytest.fixture(params=["root", "plain"])
def contained(request, home: Path) -> Person:
    """Root with what a container leaves to it, and a plain user, both in a runtime's default profile."""
    needs_landlock()
    if request.param == "plain":
        return stranger(home, deny=("container",))
    needs_root("this is root's half")
    # An image has its interpreter where all may read it; where the tests have theirs in a private home, this makes up.
    return Person(home, deny=("container",), capabilities=("dac_read_search",) if private_interpreter() else ())


def private_interpreter() -> bool:
    return any(barrier(Path(prefix)) for prefix in (sys.prefix, sys.base_prefix))


def test_doctor_names_what_the_runtime_refuses_first_and_the_profile_to_change(contained: Person):
    found = examined(contained)
    assert (found["level"], found["backend"]) == (IsolationLevel.PROCESS, "landlock")
    assert states(found)["namespaces"] == "missing"
    assert "seccomp profile that allows unshare, clone and mount" in found["nextStep"]
    (warning,) = found["warnings"]
    assert all(name in warning for name in UNSEEN)
    open_doors = [name for name, stopped in found["walls"][-1]["attacks"].items() if not stopped]
    assert open_doors == ["see-host-process"]


@pytest.mark.model
def test_adapters_are_observed_there_and_the_attestation_says_what_could_not_be_seen(contained: Person):
    contained.init()
    done = contained.certify("lora", options=("--format", "json"))
    assert done.returncode == Door.PASSED, done.stdout + done.stderr
    (attestation,) = attestations(contained.home)
    assert (attestation["level"], attestation["unseen"]) == (IsolationLevel.PROCESS, sorted(UNSEEN, reverse=True))


def test_an_interpreter_that_the_worker_cannot_reach_is_named_with_the_way_out(home: Path):
    needs_landlock()
    needs_root("to have capabilities that a container's root lacks")
    if not private_interpreter():
        pytest.skip("the interpreter that runs the tests is not below a private home")
    person = Person(home, deny=("container",))
    person.init()
    done = person.certify("lora")
    assert done.returncode == Door.UNOBSERVED, done.stdout + done.stderr
    assert "landlock: the sandbox refuses: inside the sandbox" in done.stderr
    assert "readable to every user" in done.stderr
    assert "Traceback" not in done.stderr
    assert attestations(home) == []
