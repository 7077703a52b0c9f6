"""Calls that the kernel answers before any filter: which these are is attested, and found out by trying all numbers."""

import json
import platform
import subprocess
import sys

import pytest

pytest.importorskip("pyseccomp", reason="the sandbox extra (pyseccomp) is not installed")

from peft_assay.sandbox.filters import UNFILTERED

KNOWN = set(UNFILTERED.get(platform.machine(), {}).values())
TRYING = """
import ctypes, json, os, pyseccomp
REFUSED, SELF = 77, ("write", "exit", "exit_group")  # an error that no call gives by itself; what a child may do
allowed = {pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) for name in SELF}
rules, libc, past = pyseccomp.SyscallFilter(pyseccomp.ERRNO(REFUSED)), ctypes.CDLL(None, use_errno=True), {}
for name in SELF:
    rules.add_rule(pyseccomp.ALLOW, name)
for number in set(range(480)) - allowed:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        rules.load()
        result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6)
        os.write(writing, bytes([ctypes.get_errno() if result < 0 else 0]))
        os._exit(0)
    os.close(writing)
    said = os.read(reading, 1)
    os.close(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if said != bytes([REFUSED]):
        past[number] = said[0] if said else status
print(json.dumps(past))
"""


def test_no_other_call_is_answered_past_a_filter_and_those_do_nothing():
    """A child for each number but the three that it needs itself, behind a filter that refuses all others.

    What comes past the filter is known, and does nothing where no tracer has set a probe: an error or the caller's end.
    """
    done = subprocess.run([sys.executable, "-c", TRYING], capture_output=True, text=True, check=True)
    past = {int(number): what for number, what in json.loads(done.stdout).items()}
    assert set(past) <= KNOWN
    assert 0 not in past.values()
