"""The signed attestation changes whenever anything that the walls are made of does, and with nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.sandbox import Capability, IsolationLevel, Limits
from peft_assay.sandbox import attestation
from peft_assay.sandbox.attestation import FORKED, FRESH, InForce, attest
from peft_assay.sandbox.cgroups import Place
from peft_assay.sandbox.devices import Device
from peft_assay.sandbox.filters import compile_filters
from peft_assay.sandbox.interface import Mounts, Program, SandboxConfiguration
from peft_assay.sandbox.landlock import LandlockBackend
from peft_assay.sandbox.microsuite import ATTACKS, Findings

pytest.importorskip("pyseccomp", reason="the sandbox extra (pyseccomp) is not installed")


@pytest.fixture
def parts(tmp_path):
    """Everything that `attest` is given; no process is started."""
    (tmp_path / "harness.py").write_text("")
    stopped = dict.fromkeys(ATTACKS, True)
    return {
        "backend": LandlockBackend(None),
        "program": Program("harness", (tmp_path,)),
        "mounts": Mounts((tmp_path, Path("/usr")), (tmp_path,)),
        "configuration": SandboxConfiguration(base=tmp_path),
        "force": InForce(
            Capability(IsolationLevel.PROCESS, stopped, ()),
            Findings(stopped, 7),
            None,
            FORKED,
            "sha256:base",
            "sha256:s",
        ),
    }


CHANGES = {
    "a folder more is shown": lambda p: {"mounts": replace(p["mounts"], folders=(*p["mounts"].folders, Path("/opt")))},
    "modules from elsewhere": lambda p: {"mounts": replace(p["mounts"], module_path=(Path("/opt"),))},
    "a device is shown": lambda p: {"mounts": replace(p["mounts"], devices=(Path("/dev/zero"),))},
    "another device": lambda p: {"configuration": replace(p["configuration"], device=Device("cuda"))},
    "another base": lambda p: {"configuration": replace(p["configuration"], base=Path("/opt"))},
    "another dtype": lambda p: {"configuration": replace(p["configuration"], dtype="bfloat16")},
    "more time": lambda p: {"configuration": replace(p["configuration"], limits=Limits(wall_seconds=121.0))},
    "more CPU time": lambda p: {"configuration": replace(p["configuration"], limits=Limits(cpu_seconds=121))},
    "more memory": lambda p: {"configuration": replace(p["configuration"], limits=Limits(memory_bytes=2 << 30))},
    "more output": lambda p: {"configuration": replace(p["configuration"], limits=Limits(output_bytes=17 << 20))},
    "setpriv before it": lambda p: {"backend": LandlockBackend("/bin/sh")},
    "no Landlock": lambda p: {"force": replace(p["force"], findings=replace(p["force"].findings, landlock=0))},
    "an attack unseen": lambda p: {
        "force": replace(p["force"], findings=replace(p["force"].findings, unseen=("fork",)))
    },
    "an attack not stopped": lambda p: {
        "force": replace(p["force"], capability=replace(p["force"].capability, attacks={"fork": False}))
    },
    "another level": lambda p: {
        "force": replace(p["force"], capability=replace(p["force"].capability, level=IsolationLevel.NAMESPACE))
    },
    "a control group": lambda p: {
        "force": replace(p["force"], place=Place(2, {"memory": Path("/"), "pids": Path("/")}))
    },
    "fresh processes": lambda p: {"force": replace(p["force"], processes=FRESH)},
    "another base state": lambda p: {"force": replace(p["force"], base_state="sha256:other")},
    "another reference": lambda p: {"force": replace(p["force"], sentinel=None)},
}


@pytest.mark.parametrize("change", sorted(CHANGES))
def test_it_changes_with_each_thing_that_is_in_force(change, parts):
    before = attest(**parts)
    assert canonical_digest(json.loads(json.dumps(before))) == canonical_digest(attest(**parts)), (
        "and with nothing else"
    )
    assert canonical_digest(attest(**(parts | CHANGES[change](parts)))) != canonical_digest(before)


def test_it_changes_with_the_harness_the_filters_and_what_they_run_on(parts, tmp_path, monkeypatch):
    digests = [canonical_digest(attest(**parts))]
    (tmp_path / "harness.py").write_text("# altered")
    digests.append(canonical_digest(attest(**parts)))
    filters = compile_filters()
    for name in ("policy", "seal"):
        with monkeypatch.context() as patch:
            altered = replace(filters, **{name: getattr(filters, name) + bytes(8)})
            patch.setattr(attestation, "compile_filters", lambda altered=altered, **_: altered)
            digests.append(canonical_digest(attest(**parts)))
    for name in ("kernel_document", "environment_digest"):
        with monkeypatch.context() as patch:
            patch.setattr(attestation, name, lambda: "another")
            digests.append(canonical_digest(attest(**parts)))
    (tmp_path / "python").write_text("another interpreter")
    monkeypatch.setattr(attestation, "interpreter", lambda: tmp_path / "python")
    digests.append(canonical_digest(attest(**parts)))
    assert len(set(digests)) == 7
