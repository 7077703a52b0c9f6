"""The sandbox runs the interpreter, standard library and harness that the supervisor runs, or it does not start."""

import os
import shlex
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from lanes.lane_support import ROOT, Person, attestations, certificates, landlock_abi
from peft_assay.core.errors import Door

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(not landlock_abi(), reason="this kernel has no Landlock (5.13 or newer, lsm=landlock,...)"),
]


def script(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(("#!/bin/sh", *lines, "")), "utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.model
def test_a_foreign_python_first_in_the_path_is_never_run(home: Path, tmp_path: Path):
    ran = tmp_path / "ran"
    for name in ("python", "python3", f"python3.{sys.version_info.minor}", "bwrap", "setpriv"):
        script(tmp_path / "bin" / name, f": > '{ran}'", "exit 1")
    person = Person(home, environment={"PATH": f"{tmp_path / 'bin'}:{os.defpath}"})
    person.init()

    done = person.certify("lora")

    assert done.returncode == Door.PASSED, done.stderr
    assert not ran.exists()
    assert subprocess.run([tmp_path / "bin" / "python3"], check=False).returncode == 1
    assert ran.exists()  # the trap does work


def test_an_interpreter_that_starts_another_one_is_refused(home: Path, tmp_path: Path):
    """The supervisor believes that it is `claimed`; what starts inside under that name is something else."""
    claimed = script(tmp_path / "prefix" / "bin" / "python3", f'exec {shlex.quote(sys.executable)} "$@"')
    pretend = ("bash", "-c", f'exec -a "{claimed}" "{sys.executable}" "$@"', "bash")
    person = Person(home, environment=library_path())
    person.init()

    done = person.run("certify", *lora(person), python=pretend)

    refused(person, done, "inside the sandbox executable is")


def test_another_standard_library_than_the_supervisors_is_refused(home: Path, tmp_path: Path):
    """PYTHONHOME, which a sandbox never inherits, gives the supervisor an altered library."""
    real = Path(sysconfig.get_path("stdlib"))
    altered = tmp_path / "prefix" / sys.platlibdir / real.name
    altered.mkdir(parents=True)
    for entry in real.iterdir():
        (altered / entry.name).symlink_to(entry)
    (altered / "os.py").unlink()
    (altered / "os.py").write_bytes((real / "os.py").read_bytes() + b"\n# altered\n")
    person = Person(home)
    person.init()
    tampered = Person(home, environment={"PYTHONHOME": str(tmp_path / "prefix"), **library_path()})

    done = tampered.run("certify", *lora(person))

    refused(person, done, "inside the sandbox standardLibrary is")


def library_path() -> dict[str, str]:
    """Installed packages, for an interpreter that was made to forget where they are."""
    return {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), *site.getsitepackages()))}


def lora(person: Person) -> tuple[str, ...]:
    return (str(ROOT / "examples" / "zoo" / "adapters" / "lora"), *person.place())


def refused(person: Person, done: subprocess.CompletedProcess[str], why: str) -> None:
    assert done.returncode == Door.UNOBSERVED, done.stdout + done.stderr
    assert why in done.stderr
    assert "Traceback" not in done.stderr
    assert attestations(person.home) == []
    assert certificates(person.home) == 0
