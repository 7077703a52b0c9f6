"""`doctor` on hosts that lack something: what it says is what `certify` meets, and the command named is the right one."""

import json
import re
import sys
import sysconfig
from pathlib import Path

import pytest

from lanes.lane_support import ROOT, ZOO, Person, needs_landlock, needs_root, stranger
from lanes.test_missing_walls import programs, without_bubblewrap
from peft_assay.core.errors import Door
from peft_assay.core.sandbox import IsolationLevel

pytestmark = pytest.mark.sandbox


def examined(person: Person, *options: str, python: tuple[str, ...] = (sys.executable,)):
    done = person.run("doctor", "--format", "json", *options, python=python)
    assert "Traceback" not in done.stderr, done.stderr
    found = json.loads(done.stdout)
    assert found["door"] == done.returncode, done.stdout + done.stderr
    reached = [walls for walls in found["walls"] if walls["level"] >= IsolationLevel.PROCESS]
    assert found["level"] == (reached[0]["level"] if reached else IsolationLevel.NONE)
    assert found["backend"] == (reached[0]["name"] if reached else None)
    assert done.returncode == (Door.PASSED if reached else Door.UNOBSERVED)
    return found


def states(found):
    return {layer["name"]: layer["state"] for layer in found["layers"]}


def test_a_host_with_everything_reaches_namespaces_by_attacks_that_were_run(home: Path):
    person = Person(home)
    if not programs("bwrap"):
        pytest.skip("bubblewrap is not installed")
    found = examined(person)
    if states(found)["namespaces"] != "ok":
        pytest.skip("this host denies namespaces")
    needs_landlock()
    assert found["level"] >= IsolationLevel.NAMESPACE
    walls = found["walls"][0]
    assert len(walls["attacks"]) >= 15
    assert set(walls["attacks"].values()) == {True}
    grouped = states(found)["control groups"] == "ok"
    assert (found["level"] == IsolationLevel.NAMESPACE_CGROUP) == grouped == (found["nextStep"] == "")


def test_without_bubblewrap_the_command_that_installs_it_is_named(home: Path):
    person = without_bubblewrap(home)
    needs_landlock()
    found = examined(person)
    assert (found["level"], found["backend"]) == (IsolationLevel.PROCESS, "landlock")
    assert states(found)["bubblewrap"] == "missing"
    assert re.fullmatch(r"(sudo )?(apt|dnf|apk|pacman|zypper) \S+ bubblewrap", found["nextStep"])


def test_where_namespaces_are_denied_the_switch_is_named(home: Path):
    if not programs("bwrap"):
        pytest.skip("bubblewrap is not installed")
    person = stranger(home, deny=("namespaces",))
    needs_landlock()
    found = examined(person)
    assert (found["level"], found["backend"]) == (IsolationLevel.PROCESS, "landlock")
    assert (states(found)["bubblewrap"], states(found)["namespaces"]) == ("ok", "missing")
    assert "user namespaces" in found["nextStep"]
    open_doors = [name for name, stopped in found["walls"][-1]["attacks"].items() if not stopped]
    assert open_doors == ["see-host-process"]


def test_a_plain_user_without_control_groups_learns_how_to_get_them(home: Path):
    person = stranger(home)
    found = examined(person)
    if states(found)["namespaces"] != "ok" or states(found)["control groups"] == "ok":
        pytest.skip("this host denies namespaces to plain users, or gives them control groups")
    needs_landlock()
    assert found["level"] == IsolationLevel.NAMESPACE
    assert found["nextStep"].startswith("systemd-run --user --scope peft-assay certify")


def test_without_landlock_the_kernel_is_named_and_the_level_is_lower(home: Path):
    found = examined(Person(home, deny=("landlock",)))
    if states(found)["namespaces"] != "ok" or not programs("bwrap"):
        pytest.skip("this host denies namespaces")
    assert found["level"] == IsolationLevel.PROCESS
    assert states(found)["landlock"] == "missing"
    assert "Landlock" in found["nextStep"] or "landlock_" in found["nextStep"]


@pytest.mark.parametrize("output", ["text", "json"])
def test_with_both_walls_denied_it_is_exit_4_and_every_problem_is_told(output: str, home: Path):
    done = Person(home, deny=("namespaces", "landlock")).run("doctor", "--format", output)
    assert done.returncode == Door.UNOBSERVED, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if output == "json":
        found = json.loads(done.stdout)
        assert (found["level"], found["backend"]) == (IsolationLevel.NONE, None)
        assert {walls["level"] for walls in found["walls"]} == {IsolationLevel.NONE}
        assert all(walls["problem"] for walls in found["walls"])
        assert found["nextStep"]
    else:
        assert "isolation level: none" in done.stdout
        assert re.search(r"^to exercise adapters: \S", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("absent", [("torch", "peft"), ("pyseccomp",)])
def test_without_the_extra_the_pip_line_is_named_and_nothing_is_started(absent: tuple[str, ...], home: Path):
    site = home / "site"
    site.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        name = re.split(r"[-.]", entry.name)[0].lower()
        if name not in absent:
            (site / entry.name).symlink_to(entry)
    person = Person(home, environment={"PYTHONPATH": f"{ROOT / 'src'}:{site}"})
    found = examined(person, python=(sys.executable, "-S"))
    assert found["walls"] == []
    assert found["nextStep"] == "pip install 'peft-assay[sandbox]'"
    extras = {extra["name"]: extra for extra in found["extras"]}
    assert extras["sandbox"]["absent"] == sorted(absent)
    assert extras["hub"]["installed"] is True
    assert extras["runtime"]["installed"] is (absent == ("pyseccomp",))


@pytest.mark.model
def test_a_named_base_is_loaded_and_tried(home: Path):
    found = examined(Person(home), "--base", str(ZOO / "base"))
    base = found["base"]
    assert (base["usable"], base["problem"]) == (True, "")
    assert base["parameters"] > 100_000
    assert base["state"].startswith("sha256:")


@pytest.mark.model
@pytest.mark.parametrize(
    "content", [None, "{}", '{"model_type": "llama", "auto_map": {"AutoModelForCausalLM": "x.Y"}}']
)
def test_a_base_that_cannot_be_exercised_is_exit_4_with_the_reason(content: str | None, home: Path):
    base = home / "base"
    base.mkdir()
    home.chmod(0o755)
    if content is not None:
        (base / "config.json").write_text(content)
    done = Person(home).run("doctor", "--format", "json", "--base", str(base))
    assert done.returncode == Door.UNOBSERVED, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["level"] >= IsolationLevel.PROCESS
    assert found["base"]["usable"] is False
    assert found["base"]["problem"]


def test_a_root_that_hides_setpriv_is_told_where_it_comes_from(home: Path):
    needs_root("to hide setpriv")
    found = examined(Person(home, hide=programs("setpriv")))
    assert states(found)["setpriv"] == "missing"
    assert found["nextStep"].endswith("util-linux")
    assert found["level"] == IsolationLevel.NONE
