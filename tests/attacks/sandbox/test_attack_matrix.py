"""Each attack in three lanes: stopped and seen behind walls, works without them, and the next job is as before.

Lanes: root that becomes an unprivileged user; a plain user; a plain user to whom user namespaces are denied. A lane
runs `attack_matrix.py` once, as a program of its own.
"""

import json
import secrets
import shutil
import signal
import sys
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from attacks.sandbox.attack_catalogue import ATTACKS, Attack
from attacks.sandbox.attack_files import LIES
from attacks.sandbox.lanes_of_attack import LANES, lane_person
from lanes.lane_support import ZOO, needs_landlock
from peft_assay.core.sandbox import IsolationLevel

pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

pytestmark = [pytest.mark.sandbox, pytest.mark.model]

HERE = Path(__file__).resolve().parent
BY_NAME = {attack.name: attack for attack in ATTACKS}
STOPPED = [attack.name for attack in ATTACKS if not attack.succeeds]
FILES_THAT_LOAD = {"class-to-import"}
"""The field is never followed: what loads is the adapter without it."""
SECONDS = 1500
"""All lanes at once on a busy machine of two cores."""
KILLED_BY_FILTER = 128 + signal.SIGSYS
WITHOUT_BAIT = {"read-shadow", "read-environment-settings", "read-import-hooks"}
"""They read files that are there already, in which no test may lay anything."""
NOT_THIS_MACHINE = {"x32-calls": "x86_64", "i386-calls": "x86_64"}


@pytest.fixture(scope="module")
def lanes():
    """All lanes at once: most of their time they wait for jobs to reach a limit of time."""
    needs_landlock()
    with ThreadPoolExecutor(len(LANES)) as pool:
        yield {name: pool.submit(carry_out, name) for name in LANES}


@pytest.fixture(scope="module", params=sorted(LANES))
def lane(request, lanes: dict[str, Future]):
    """What became of everything in one lane; skips where this host has no such lane."""
    return lanes[request.param].result()


def carry_out(name):
    """Every attack in the lane `name`."""
    folder = Path(tempfile.mkdtemp(prefix="assay-attacks-"))
    try:
        person = lane_person(name, folder)
        secret = f"bait-{secrets.token_hex(16)}"
        person.environment["HF_TOKEN"] = secret
        paths = map(str, (ZOO / "base", ZOO / "adapters" / "lora", folder / "range"))
        done = person.execute([sys.executable, str(HERE / "attack_matrix.py"), LANES[name], *paths], SECONDS)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout) | {"lane": name, "secret": secret}
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def became(lane):
    """What became of one attack; skips where the machine has no such thing."""

    def find(name):
        if NOT_THIS_MACHINE.get(name, lane["machine"]) != lane["machine"]:
            pytest.skip(f"{name} needs {NOT_THIS_MACHINE[name]}")
        return lane["attacks"][name]

    return find


def promised(attack: Attack, lane) -> bool:
    return not attack.namespaced or lane["level"] >= IsolationLevel.NAMESPACE


def test_the_lane_is_what_it_is_called(lane):
    walls = IsolationLevel.PROCESS if LANES[lane["lane"]] == "landlock" else IsolationLevel.NAMESPACE
    assert lane["level"] >= walls
    assert (lane["level"] < IsolationLevel.NAMESPACE) == (walls is IsolationLevel.PROCESS)
    assert (lane["uid"] == 0) == (lane["lane"] == "root")
    assert lane["before"]["outcome"] == "ok"
    assert lane["before"]["events"] == []
    assert all(lane["before"]["answers"][1]["tokens"])


@pytest.mark.parametrize("name", STOPPED)
def test_an_attack_is_stopped_and_leaves_no_trace(name, lane, became):
    attack, found = BY_NAME[name], became(name)
    assert found["outcome"] in attack.outcome, found
    assert found["traces"] == []
    assert lane["secret"] not in json.dumps(found["claims"])
    if attack.outcome != ("ok",):
        return
    (claim,) = found["claims"]
    if name == "own-environment":
        assert claim["succeeded"]  # there is one, with nothing in it of the supervisor's
    else:
        assert claim["succeeded"] is not promised(attack, lane)


@pytest.mark.parametrize("name", [attack.name for attack in ATTACKS if attack.seen])
def test_the_supervisor_saw_it(name, lane, became):
    if BY_NAME[name].own_filter_first and lane["lane"] == "no-namespaces":
        assert became(name)["events"] == []  # so that the day on which it can be seen is not missed
        pytest.skip(f"{name}: this lane's own filter refuses it before the supervisor could see it")
    assert set(became(name)["events"]) & set(BY_NAME[name].seen)


@pytest.mark.parametrize("name", [attack.name for attack in ATTACKS if not attack.seen])
def test_what_the_kernel_refuses_silently_is_not_reported_as_seen(name, became):
    """So that the table of the documentation does not promise more, nor less, than there is."""
    assert became(name)["events"] == []


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_the_next_job_is_clean_and_its_answers_are_those_from_before(name, lane, became):
    assert became(name)["next"] == lane["before"]


@pytest.mark.parametrize("name", [attack.name for attack in ATTACKS if attack.controlled])
def test_it_works_without_walls(name, lane, became):
    attack, control = BY_NAME[name], became(name)["control"]
    if attack.endless:
        assert not control["ended"]
        return
    refused = control["said"] is not None and not control["said"]["succeeded"]
    if refused and attack.host_may_refuse:
        pytest.skip(f"this host refuses {name} to everybody: {control['said']['detail'][:100]}")
    if name in NOT_THIS_MACHINE and lane["lane"] == "no-namespaces" and control["status"] == KILLED_BY_FILTER:
        pytest.skip(f"{name}: the filter by which this lane denies namespaces kills whoever uses other call tables")
    assert control["ended"]
    assert not refused, control["said"]
    assert control["status"] == 0
    if name in WITHOUT_BAIT:
        assert control["said"]["detail"].strip()
    elif name.startswith("read-") and "memory" not in name:
        assert lane["secret"] in control["said"]["detail"]
    if name.startswith(("own-environ", "environ-of")) and name != "environ-of-first":
        assert lane["secret"] in control["said"]["detail"]
    if attack.group in (1, 4, 5) and attack.seen and name != "netlink":
        assert control["traces"]
    assert control["survived"] == (name == "daemon")


@pytest.mark.parametrize("name", [attack.name for attack in ATTACKS if attack.succeeds])
def test_what_a_child_does_to_itself_reaches_nobody_else(name, became):
    (claim,) = became(name)["claims"]
    assert claim["succeeded"], claim


def test_endless_jobs_end_when_they_must(became):
    assert 0.9 < became("sleep")["wall"] < 4
    assert 0.9 < became("deaf-loop")["wall"] < 15
    assert became("endless-output")["wall"] < 5


@pytest.mark.parametrize("name", sorted(LIES))
def test_files_that_lie_load_nothing_and_harm_nobody(name, lane):
    found = lane["lies"][name]
    assert not any(found["loaded"]) or name in FILES_THAT_LOAD, found
    assert found["events"] == []
    assert found["wall"] < 6
    assert found["traces"] == []
    assert found["next"] == lane["before"]
