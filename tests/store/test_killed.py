"""kill -9 at any point leaves a valid store: nothing half-issued, every attempt counted."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from peft_assay.core.digest import sha256
from peft_assay.store.ledger import Kind
from peft_assay.store.workspace import Workspace

WRITER = """
import itertools, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from peft_assay.core.digest import sha256
from peft_assay.store.workspace import Workspace

now = datetime(2026, 11, 23, tzinfo=UTC)
a, l, c, p = (sha256(name.encode()) for name in "alcp")
with Workspace.open(Path(sys.argv[1]), create=True) as workspace:
    print("open", flush=True)
    for _ in itertools.count():
        number = workspace.record_attempt(artifact=a, lock=l, conditions=c, policy=p, at=now)
        print(number, flush=True)
        envelope = b"%d" % number * 3000
        workspace.add_observations(b"o" + envelope, artifact=a, conditions=c, observed_at=now, at=now)
        workspace.certify(envelope, artifact=a, lock=l, policy=p, issued_at=now, not_after=now + timedelta(1), at=now)
"""


COUNTER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from peft_assay.core.digest import sha256
from peft_assay.store.workspace import Workspace

now = datetime(2026, 11, 23, tzinfo=UTC)
a, l, c, p = (sha256(name.encode()) for name in "alcp")
with Workspace.open(Path(sys.argv[1]), create=True) as workspace:
    for _ in range(25):
        print(workspace.record_attempt(artifact=a, lock=l, conditions=c, policy=p, at=now), flush=True)
"""


def test_processes_at_once_count_every_attempt_once(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", COUNTER, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) for _ in range(3)]
    numbers = []
    for process in processes:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        numbers += [int(line) for line in out.split()]
    assert sorted(numbers) == list(range(1, 76))
    with Workspace.open(tmp_path) as workspace:
        assert workspace.audit().entries == 75


def test_killed_in_a_loop(tmp_path: Path) -> None:
    a, lock = sha256(b"a"), sha256(b"l")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    chance = random.Random(9162)
    acknowledged = 0
    for turn in range(6):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        try:
            if turn:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(chance.uniform(0.0, 0.25))
            else:
                time.sleep(0.8)
        finally:
            process.send_signal(signal.SIGKILL)
            out, _ = process.communicate(timeout=30)
        numbers = [int(line) for line in out.splitlines() if line.isdigit()]
        acknowledged = max([acknowledged, *numbers])
        with Workspace.open(tmp_path, create=True) as workspace:
            audit = workspace.audit()
            assert workspace.attempts(a, lock) >= acknowledged
            certificates = workspace.certificates(a, lock)
            issued = [entry for entry in workspace.history() if entry.kind is Kind.CERTIFIED]
            assert len(certificates) == len(issued)
            assert audit.entries == workspace.ledger_size()
            workspace.record_attempt(artifact=a, lock=lock, conditions=a, policy=a, at=datetime.now(UTC))
            acknowledged += 1
    assert acknowledged > 6
