"""A process that computes on a device has threads of the device's library before its walls stand: they are behind them, too."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest

pyseccomp = pytest.importorskip("pyseccomp", reason="the sandbox extra (pyseccomp) is not installed")

from lanes.lane_support import needs_landlock  # noqa: E402
from peft_assay.core.sandbox import Job, Limits, Outcome  # noqa: E402
from peft_assay.sandbox.devices import Device  # noqa: E402
from peft_assay.sandbox.interface import Program, SandboxConfiguration  # noqa: E402
from peft_assay.sandbox.supervisor import Supervisor  # noqa: E402
from peft_assay.sandbox.surroundings import harness_program, mounts_for  # noqa: E402

pytestmark = pytest.mark.sandbox

HOSTILE = Path(__file__).parent / "hostile_worker"
NODES = (Path("/dev/zero"),)
SOCKET = {
    "do": "helper-calls",
    "number": pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, "socket"),
    "arguments": (1, 1, 0),
}


@pytest.fixture
def do(backend, findings, empty_base):
    """One job in a process with a helper thread; `nodes` are the devices that the sandbox is told of."""

    def run(*deeds, nodes=NODES):
        program = Program("hostile_worker", (HOSTILE, *harness_program().folders))
        configuration = SandboxConfiguration(base=empty_base, dtype="helper", fresh_processes=True)
        configuration = replace(configuration, device=Device("cpu", nodes))
        mounts = replace(mounts_for(program, empty_base), devices=nodes)
        replies = []

        def converse(ask):
            for deed in deeds:
                replies.append(ask({"op": "score", "items": [{}] * deed.pop("values", 1), **deed})["logLikelihoods"])

        with Supervisor(backend, program, mounts, configuration, findings, ()) as supervisor:
            return supervisor.run(Job(None, Limits(wall_seconds=20)), converse), replies

    return run


def test_a_helper_thread_is_behind_the_filter_and_the_node_that_was_opened_works(do):
    result, (node, called) = do({"do": "read-node", "values": 2}, dict(SOCKET))
    assert node == [-8.0, 0.0], "eight bytes from the open node; it cannot be opened again"
    assert called == [-float(errno.EPERM)]
    assert [event.detail for event in result.events] == ["openat", "socket"]
    assert result.outcome is Outcome.OK


def test_a_helper_thread_reads_no_file_of_the_host(do, tmp_path):
    needs_landlock()
    (tmp_path / "secret").write_text("secret")
    _, ((read,), (own,)) = do(
        {"do": "helper-reads", "path": str(tmp_path / "secret")},
        {"do": "helper-reads", "path": str(HOSTILE / "__main__.py")},
    )
    assert (read, own) == (0.0, -1.0)


def test_threads_that_no_device_explains_end_the_job_before_it_meets_the_adapter(do):
    result, replies = do({"do": "answer"}, nodes=())
    assert (result.outcome, replies) == (Outcome.CRASH, [])
