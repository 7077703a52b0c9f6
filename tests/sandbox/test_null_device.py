"""Packages that transformers imports where they are installed open the null device for writing: that, and no more."""

import subprocess
import sys

import pytest

from lanes.lane_support import needs_landlock

TRY = """
import os, sys
from peft_assay_harness.confine import prctl, restrict_reads, PR_SET_NO_NEW_PRIVS
import landlockpy
prctl(PR_SET_NO_NEW_PRIVS, 1)
restrict_reads(("/dev", sys.argv[2]), **({"writable": (os.devnull,)} if sys.argv[1] == "sink" else {}))
for path, mode in ((os.devnull, "r+b"), (os.devnull, "wb"), ("/dev/zero", "r+b"), (sys.argv[2] + "/file", "r+b")):
    try:
        open(path, mode, buffering=0).close()
        print("open")
    except PermissionError:
        print("denied")
"""


@pytest.mark.sandbox
@pytest.mark.parametrize(("given", "null"), [("sink", "open"), ("no-sink", "denied")])
def test_the_null_device_can_be_written_and_nothing_beside_it(given, null, tmp_path):
    needs_landlock()
    (tmp_path / "file").write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-c", TRY, given, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    assert done.stdout.split() == [null, null, "denied", "denied"]
