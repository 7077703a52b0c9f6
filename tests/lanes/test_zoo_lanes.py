"""The whole zoo gets the same outcomes by the same rules whoever runs it, behind whichever walls.

Lanes: root and a plain user, namespaces and Landlock. A lane that cannot run here says why when it is skipped.
"""

import csv
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from lanes.lane_support import (
    ZOO,
    Person,
    attestations,
    certificates,
    needs_landlock,
    needs_namespaces,
    needs_root,
    stranger,
)
from peft_assay.core.errors import Door
from peft_assay.core.sandbox import IsolationLevel

pytestmark = [pytest.mark.sandbox, pytest.mark.model]

LEVELS = {"namespace": IsolationLevel.NAMESPACE, "landlock": IsolationLevel.PROCESS}


def expected() -> dict[str, tuple[str, str]]:
    with (ZOO / "expected.csv").open(encoding="utf-8", newline="") as lines:
        return {row["adapter"]: (row["outcome"], row["rule"]) for row in csv.DictReader(lines)}


def person_of(lane: str, home: Path) -> Person:
    if lane == "root":
        needs_root("this is root's lane")
        return Person(home)
    return stranger(home)


@pytest.mark.parametrize("isolation", LEVELS)
@pytest.mark.parametrize("lane", ["root", "plain"])
def test_the_whole_zoo_is_judged_as_its_table_says(lane: str, isolation: str, home: Path):
    person = person_of(lane, home)
    if isolation == "namespace":
        needs_namespaces(person)
    needs_landlock()  # jobs confine themselves with it behind namespaces, too
    person.init()

    done = person.certify(*expected(), options=("--isolation", isolation, "--format", "json"))

    assert done.returncode == Door.REFUSED, done.stderr  # the first door that applies: some members are no artifacts
    reports = {report["adapter"]: report for report in json.loads(done.stdout)}
    found = {name: (report["outcome"], deciding(report)) for name, report in reports.items()}
    assert found == expected()
    for report in reports.values():
        stopped = report["outcome"] != "PASS"
        assert bool(report["nextStep"]) == stopped, "whoever is not admitted is told what to do"
        assert report["outcome"] in {"PASS", "REFUSED"} or report["nextStep"].count("peft-assay ") == 1
    seen = attestations(person.home)
    assert len(seen) == sum(outcome != "REFUSED" for outcome, _ in expected().values())
    assert {attestation["level"] for attestation in seen} == {int(level_with(isolation, seen[0]))}
    assert {attestation["walls"]["backend"] for attestation in seen} == {isolation}
    uid = os.geteuid() if person.uid is None else person.uid
    assert {attestation["supervisorUid"] for attestation in seen} == {uid}
    assert certificates(person.home) == sum(outcome == "PASS" for outcome, _ in expected().values())


def level_with(isolation: str, attestation: dict[str, Any]) -> IsolationLevel:
    """What that backend shows on this host: control groups raise namespaces where they can be made and were seen to bite."""
    group = attestation["controlGroup"]
    if isolation == "namespace" and group is not None and group["bite"]["memory"] and group["bite"]["processes"]:
        return IsolationLevel.NAMESPACE_CGROUP
    return LEVELS[isolation]


def deciding(report: dict[str, object]) -> object:
    """The rule of the table: intake decides for what it refuses, nothing decides against a PASS."""
    if report["outcome"] == "REFUSED":
        assert report["rules"] == []
        return "intake"
    return report["decidingRule"] or ""


@pytest.mark.parametrize("isolation", LEVELS)
def test_an_interpreter_in_a_private_home_of_the_plain_user_works(isolation: str, home: Path):
    needs_root("to make the folders that hold the interpreter a private home (mode 0700) of a plain user")
    person = stranger(home, interpreter_home="own")
    if isolation == "namespace":
        needs_namespaces(person)
    needs_landlock()
    private_home_or_skip(person)
    person.init()

    done = person.certify("lora", options=("--isolation", isolation, "--format", "json"))

    assert done.returncode == Door.PASSED, done.stdout + done.stderr
    assert [attestation["level"] for attestation in attestations(person.home)] == [int(LEVELS[isolation])]


def private_home_or_skip(person: Person) -> None:
    """The case is only shown where a folder above the interpreter is of mode 0700 and this person's."""
    look = (
        "import os, sys; from pathlib import Path\n"
        "above = [folder.stat() for prefix in (sys.prefix, sys.base_prefix) for folder in Path(prefix).parents]\n"
        "print(any(s.st_mode & 0o777 == 0o700 and s.st_uid == os.getuid() for s in above))"
    )
    done = person.execute([sys.executable, "-c", look])
    if done.stdout.strip() != "True":
        pytest.skip("the interpreter that runs the tests is not below a private home")
