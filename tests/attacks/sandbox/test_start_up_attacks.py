"""Each start-up attack: it works where there are no walls, and is stopped and seen where there are."""

import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from peft_assay.core.sandbox import IsolationLevel
from peft_assay.sandbox.microsuite import ATTACKS, NAMESPACE_ONLY, Findings

pytestmark = pytest.mark.sandbox

SOURCES = Path(__file__).parents[3] / "src"
CONTROL = """
import json, subprocess, sys
# A parent to be attacked that nobody misses: some of these attacks freeze it.
child = subprocess.Popen([sys.executable, "-c", '''
import json, sys
from peft_assay_harness.attacks import ATTACKS
arguments = json.loads(sys.argv[2])
try:
    print(json.dumps([True, ATTACKS[sys.argv[1]](arguments)]), flush=True)
except OSError as error:
    print(json.dumps([False, str(error)]), flush=True)
''', *sys.argv[1:]])
child.wait()
"""


def without_walls(name, arguments):
    process = subprocess.Popen(
        [sys.executable, "-c", CONTROL, name, json.dumps(arguments)],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(SOURCES), "PATH": os.environ["PATH"]},
        start_new_session=True,
    )
    try:
        assert select.select([process.stdout], [], [], 20)[0] or process.wait(1) is not None
        line = process.stdout.readline()
        return json.loads(line) if line else [True, "became another program"]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_works_without_walls(name, tmp_path):
    if name == "run-as-root" and os.geteuid() != 0:
        pytest.skip("not started by root")
    (tmp_path / "bait").write_text(secret := secrets.token_hex(8))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        arguments = {
            "path": str(tmp_path / "bait"),
            "folder": str(tmp_path),
            "port": listener.getsockname()[1],
            "pid": os.getpid(),
            "bytes": 64 << 20,
        }
        succeeded, detail = without_walls(name, arguments)
    if not succeeded and name in ("io-uring", "new-namespace", "worker-memory", "trace-worker"):
        pytest.skip(f"this host refuses {name} to everybody: {detail}")
    assert succeeded, detail
    if name == "read-host-file":
        assert detail == secret


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_is_stopped(name, findings, backend_name):
    if backend_name == "landlock" and name in NAMESPACE_ONLY:
        assert not findings.stopped[name]
    else:
        assert findings.stopped[name]


def test_the_level_follows_from_what_was_stopped():
    everything = dict.fromkeys(ATTACKS, True)
    assert Findings(everything, 7).level(IsolationLevel.NAMESPACE) is IsolationLevel.NAMESPACE
    assert Findings(everything, 7).level(IsolationLevel.PROCESS) is IsolationLevel.PROCESS
    for name in ATTACKS:
        expected = IsolationLevel.PROCESS if name in NAMESPACE_ONLY else IsolationLevel.NONE
        assert Findings(everything | {name: False}, 7).level(IsolationLevel.NAMESPACE) is expected
        missing = {other: True for other in ATTACKS if other != name}
        assert Findings(missing, 7).level(IsolationLevel.NAMESPACE) is IsolationLevel.NONE
    assert Findings({}, 7).level(IsolationLevel.NAMESPACE) is IsolationLevel.NONE
