"""Computing on a device: a process for each job, what is shown is recorded, helper threads are behind the filter.

No GPU is needed: nodes that every Linux has stand for a driver's.
"""

import os
from pathlib import Path

import pytest

from peft_assay.core.errors import DocumentError, ObservationError
from peft_assay.core.sandbox import Outcome
from peft_assay.sandbox import filters
from peft_assay.sandbox.allowlist import configured_device
from peft_assay.sandbox.choose import open_sandbox
from peft_assay.sandbox.devices import Device, exposure, find_device
from peft_assay.sandbox.interface import SandboxConfiguration
from sandbox.contract import LOAD, ZOO, greedy

NODES = (Path("/dev/zero"),)


def test_the_nodes_of_a_driver_are_found_and_plain_files_are_not(tmp_path):
    (tmp_path / "nvidia0").write_text("")
    with pytest.raises(ObservationError, match="no device 'cuda'") as caught:
        find_device("cuda", tmp_path)
    assert "sandbox.yaml" in caught.value.next_step
    if os.geteuid() != 0:
        pytest.skip("needs root: to make device nodes")
    for name, minor in (("nvidiactl", 255), ("nvidia1", 1), ("nvidia-uvm", 0)):
        os.mknod(tmp_path / name, 0o600 | 0o020000, os.makedev(1, minor))
    assert find_device("cuda", tmp_path) == Device(
        "cuda", tuple(tmp_path / name for name in ("nvidia-uvm", "nvidia1", "nvidiactl"))
    )


def test_what_is_exposed_is_named_with_numbers_and_driver(tmp_path):
    (tmp_path / "version").write_text("NVRM version: 570.86\nGCC version: 12\n")
    (one,) = exposure(NODES, tmp_path / "version")
    assert one == {"node": "/dev/zero", "major": 1, "minor": 5, "driver": "NVRM version: 570.86"}
    assert exposure(NODES, tmp_path / "nowhere")[0]["driver"] == ""
    assert exposure(()) == []
    with pytest.raises(ObservationError, match="cannot be examined"):
        exposure((tmp_path / "nowhere",))


def test_the_system_configuration_names_the_device(tmp_path):
    path = tmp_path / "sandbox.yaml"
    path.write_text("apiVersion: peft-assay/sandbox/v1\ndevice: cpu\n")
    assert configured_device(path) == Device()
    assert configured_device(tmp_path / "none", tmp_path / "neither") == Device()
    path.write_text("apiVersion: peft-assay/sandbox/v1\ndevice: /dev/mem\n")
    with pytest.raises(DocumentError, match="device"):
        configured_device(path)


def test_devices_widen_the_filter_by_their_commands_only():
    pytest.importorskip("pyseccomp", reason="the sandbox extra (pyseccomp) is not installed")
    narrow, wide = filters.compile_filters(), filters.compile_filters(devices=True)
    assert narrow.policy != wide.policy
    assert narrow.seal == wide.seal


@pytest.mark.sandbox
@pytest.mark.model
def test_each_job_has_a_process_of_its_own_and_the_exposure_is_attested(exercise, zoo, cases):
    pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")
    task = greedy(cases("lookups")[:3])
    shown = SandboxConfiguration(base=ZOO / "base", device=Device("cpu", NODES))
    replies, documents = [], []
    for configuration in (shown, SandboxConfiguration(base=ZOO / "base")):
        try:
            sandbox = open_sandbox(configuration)
        except ObservationError as error:
            pytest.skip(f"no sandbox on this host: {error}")
        with sandbox:
            result, answers = exercise(sandbox, zoo("lora"), LOAD, task)
            documents.append(sandbox.attestation())
        assert (result.outcome, result.events) == (Outcome.OK, ())
        assert result.record["fresh"] is (configuration is shown)
        replies.append(answers)
    with_node, without = documents
    assert replies[0] == replies[1]
    assert [one["node"] for one in with_node["devices"]] == ["/dev/zero"]
    assert with_node["processes"] == "fresh: the context of a device does not survive a fork"
    assert without["devices"] == []
    assert without["level"] == with_node["level"]
    assert {key for key in without if without[key] != with_node[key]} == {
        *("command", "devices", "filters", "processes", "sentinel")
    }
