"""``python -m peft_assay_harness.strain``: a worker that uses up what its control group allows, and nothing else.

It is started through the same launcher as the others, in a group with tight bounds. What it claims counts for nothing:
the supervisor reads the kernel's counters. Nothing here confines itself, so only the group stands in the way.
"""

import argparse
import contextlib
import os
import signal
import sys
import time

from peft_assay_harness.confine import end_with
from peft_assay_harness.zygote import Job, Prepared, run

PROCESSES = 128
MEMORY_BYTES = 1 << 30
PIECE = 16 << 20
BUSY_SECONDS = 0.12
"""Within which more than half of one of the kernel's periods of 0.1 s is used, where there is as much to be had."""


def burn() -> None:
    """More CPU time than half a CPU gives, where there is more to be had."""
    until = time.monotonic() + BUSY_SECONDS
    while time.monotonic() < until:
        pass


def multiply() -> None:
    """Processes until the kernel refuses one; all of them end again."""
    made: list[int] = []
    worker = os.getpid()
    with contextlib.suppress(OSError):
        while len(made) < PROCESSES:
            child = os.fork()
            if child == 0:
                end_with(worker)
                signal.pause()
            made.append(child)
    for child in made:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def swell() -> None:
    """A child that takes memory until it is killed, or until it has much more than it should get."""
    worker = os.getpid()
    child = os.fork()
    if child == 0:
        end_with(worker)
        held: list[bytearray] = []
        while len(held) * PIECE < MEMORY_BYTES:
            held.append(bytearray(b"\1") * PIECE)
        os._exit(0)
    os.waitpid(child, 0)


def prepare(_: argparse.Namespace) -> Prepared:
    """Strains, one bound after the other."""
    burn()
    multiply()
    swell()
    return Prepared({}, _serve)


def _serve(_: Job) -> None:
    """No job is ever sent to this worker."""


if __name__ == "__main__":
    sys.exit(run(prepare))
