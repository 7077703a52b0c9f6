"""`doctor` without a sandbox: on other systems, with hostile texts, and which remedy comes first."""

import platform
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.command_line import say
from peft_assay.core.errors import Door
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.pipeline import doctor_layers
from peft_assay.pipeline.doctor import LAST_RESORT, _next_step
from peft_assay.pipeline.doctor_extras import EXTRAS, extras
from peft_assay.report.diagnosis import Diagnosis, Layer, State, TriedBase, TriedWalls
from peft_assay.report.doctor import diagnosis, document

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("system", ["Darwin", "Windows"])
def test_another_system_is_told_what_is_missing_and_where_it_works(system, monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: system)
    said = say("doctor", "--format", "json")
    assert said.code == Door.UNOBSERVED
    found = said.document
    assert (found["level"], found["backend"], found["walls"]) == (IsolationLevel.NONE, None, [])
    assert [layer["state"] for layer in found["layers"]] == ["missing"]
    assert system in found["layers"][0]["detail"]
    assert "Linux container or virtual machine" in found["nextStep"]
    text = say("doctor")
    assert text.code == Door.UNOBSERVED
    assert text.out.splitlines()[0].startswith("isolation level: none")
    assert text.out.splitlines()[-1] == f"to exercise adapters: {found['nextStep']}"


def test_another_system_needs_none_of_the_modules_that_only_unix_has():
    script = (
        "import sys, platform\n"
        "platform.system = lambda: 'Windows'\n"
        "import peft_assay.cli.main as main\n"
        "before = set(sys.modules)\n"
        "code = main.run(['doctor'])\n"
        "new = set(sys.modules) - before\n"
        "print('SANDBOX', sorted(n for n in new if n in ('fcntl', 'pwd', 'resource') or 'sandbox.' in n), code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == f"SANDBOX [] {int(Door.UNOBSERVED)}"


def test_extras_are_those_of_the_package():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    declared.pop("dev")
    names = {extra: {re.match(r"[\w-]+", line)[0] for line in lines} for extra, lines in declared.items()}
    assert {extra: set(distributions) for extra, (_, distributions) in EXTRAS.items()} == names
    for extra in extras():
        assert extra.install == f"pip install 'peft-assay[{extra.name}]'"
        assert set(extra.versions) | set(extra.absent) == names[extra.name]


layers = st.lists(
    st.builds(
        Layer,
        name=st.sampled_from(["libraries", "seccomp", "bubblewrap"]),
        state=st.sampled_from(State),
        detail=st.just(""),
        remedy=st.sampled_from(["", "do this", "do that"]),
    )
)


@given(st.sampled_from(IsolationLevel), layers)
def test_below_namespaces_there_is_always_a_next_step_and_it_is_the_first_that_lacks(level, lacking):
    said = _next_step(level, lacking)
    remedies = [layer.remedy for layer in lacking if layer.state is State.MISSING and layer.remedy]
    if remedies:
        assert said == remedies[0]
    else:
        assert said == (LAST_RESORT if level < IsolationLevel.NAMESPACE else "")


HOSTILE = "\x1b[2Jfine\u202e\n[bold]ok[/bold]"
FOUND = Diagnosis(
    level=IsolationLevel.PROCESS,
    backend="landlock",
    layers=(Layer("namespaces", State.MISSING, HOSTILE, f"{HOSTILE} again"),),
    walls=(
        TriedWalls("namespace", IsolationLevel.NONE, {}, problem=HOSTILE),
        TriedWalls("landlock", IsolationLevel.PROCESS, {"a": True, "b": False}, ("a",), "not stopped: b"),
    ),
    extras=extras(),
    next_step=HOSTILE,
    base=TriedBase(HOSTILE, 0, "", HOSTILE),
    warnings=(HOSTILE,),
)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("tty", [True, False])
def test_what_programs_said_reaches_nobody_raw(tty, width):
    text = diagnosis(FOUND, tty=tty, width=width)
    assert "\x1b[2J" not in text
    assert "\u202e" not in text
    shown = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert "[bold]ok[/bold]" in "".join(shown.split())
    assert "1 of 2 stopped" in " ".join(shown.split())
    if tty:
        assert max(map(len, shown.splitlines())) <= width
    else:
        assert "\x1b" not in text
        assert len(shown.splitlines()) == 1 + 2 + 2 + len(EXTRAS) + 1 + 1 + 1
    assert document(FOUND).isascii()


def test_an_unusable_base_is_an_exit_code_and_a_usable_one_is_not():
    assert FOUND.door is Door.UNOBSERVED
    assert replace(FOUND, base=None).door is Door.PASSED
    usable = replace(FOUND, base=TriedBase("base", 12, "sha256:" + "0" * 64))
    assert usable.door is Door.PASSED
    assert "12 parameters" in diagnosis(usable, tty=False)
    assert replace(usable, level=IsolationLevel.NONE, backend=None).door is Door.UNOBSERVED


@pytest.mark.parametrize(
    ("release", "line"),
    [
        ({"ID": "debian"}, "apt install bubblewrap"),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "apt install bubblewrap"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "dnf install bubblewrap"),
        ({"ID": "opensuse-leap", "ID_LIKE": "suse opensuse"}, "zypper install bubblewrap"),
        ({"ID": "unheard-of"}, "apt install bubblewrap"),
        (None, "apt install bubblewrap"),
    ],
)
@pytest.mark.parametrize("user", [0, 1000])
def test_system_packages_are_installed_as_the_distribution_does(release, line, user, monkeypatch):
    def read():
        if release is None:
            raise OSError("no os-release")
        return release

    monkeypatch.setattr(platform, "freedesktop_os_release", read)
    monkeypatch.setattr(doctor_layers.os, "geteuid", lambda: user)
    assert doctor_layers.installation("bubblewrap") == ("sudo " * (user != 0)) + line
