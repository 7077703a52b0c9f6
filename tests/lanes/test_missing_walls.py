"""What a host lacks lowers the level, which is said, or ends the run; it never goes unnoticed."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lanes.lane_support import (
    Person,
    attestations,
    certificates,
    needs_landlock,
    needs_root,
    stranger,
)
from peft_assay.core.errors import Door
from peft_assay.core.sandbox import IsolationLevel

pytestmark = pytest.mark.sandbox


def programs(name: str) -> tuple[Path, ...]:
    """Every file that a search for `name` could find."""
    folders = map(Path, ("/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"))
    return tuple(sorted({(folder / name).resolve() for folder in folders if (folder / name).is_file()}))


def without_bubblewrap(home: Path, *deny: str) -> Person:
    """A person on a host where bubblewrap is not installed."""
    if shutil.which("bwrap") is None:
        return Person(home, deny=deny)
    needs_root("to hide bubblewrap, which is installed here")
    return Person(home, hide=programs("bwrap"), deny=deny)


@pytest.mark.model
def test_without_bubblewrap_landlock_takes_over_and_the_output_names_the_level(home: Path):
    person = without_bubblewrap(home)
    needs_landlock()
    person.init()

    done = person.certify("lora")

    assert done.returncode == Door.PASSED, done.stderr
    assert {attestation["level"] for attestation in attestations(person.home)} == {int(IsolationLevel.PROCESS)}
    assert "isolation level: process" in done.stdout


@pytest.mark.model
def test_where_namespaces_are_denied_landlock_takes_over(home: Path):
    person = stranger(home, deny=("namespaces",))
    needs_landlock()
    person.init()

    done = person.certify("lora", options=("--format", "json"))

    assert done.returncode == Door.PASSED, done.stdout + done.stderr
    walls = {(attestation["level"], attestation["walls"]["backend"]) for attestation in attestations(person.home)}
    assert walls == {(int(IsolationLevel.PROCESS), "landlock")}


def test_namespaces_that_were_asked_for_are_not_replaced(home: Path):
    person = Person(home, deny=("namespaces",))
    person.init()
    nothing_observed(person, person.certify("lora", options=("--isolation", "namespace")))


def test_without_bubblewrap_and_without_landlock_nothing_is_observed(home: Path):
    person = without_bubblewrap(home, "landlock")
    person.init()
    done = person.certify("lora")
    nothing_observed(person, done)
    assert "bwrap is not installed" in done.stderr
    assert "Landlock" in done.stderr


@pytest.mark.parametrize("output", ["text", "json"])
def test_with_both_walls_denied_nothing_is_observed(output: str, home: Path):
    person = Person(home, deny=("namespaces", "landlock"))
    person.init()
    done = person.certify("lora", options=("--format", output))
    nothing_observed(person, done)
    if output == "json":
        assert json.loads(done.stdout)["door"] == Door.UNOBSERVED


def nothing_observed(person: Person, done: subprocess.CompletedProcess[str]) -> None:
    """Exit 4 with the line that helps; no observation, no certificate, no traceback."""
    assert done.returncode == Door.UNOBSERVED, done.stdout + done.stderr
    assert re.search(r"\bapt(-get)? install bubblewrap\b", done.stdout + done.stderr)
    assert "Traceback" not in done.stderr
    assert attestations(person.home) == []
    assert certificates(person.home) == 0
