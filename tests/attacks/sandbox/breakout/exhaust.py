"""Taking all there is: memory, processes' memory, disks, time, output; and lying in what is written."""

import ctypes
import json
import mmap
import os
import signal
import time
from pathlib import Path

from breakout.processes import check, libc
from peft_assay_harness.frames import write_all

PIECE = 16 << 20
GOOD = {"op": "attack", "succeeded": False, "detail": ""}


def memory_at_once(given, _):
    return f"{len(bytearray(given['bytes']))} bytes"


def memory_piecewise(given, _):
    held = []
    while len(held) * PIECE < given["bytes"]:
        held.append(bytearray(b"\1") * PIECE)
    return f"{len(held) * PIECE} bytes"


def memory_shared(given, _):
    """Shared anonymous memory, which some counts leave out."""
    held = []
    while len(held) * PIECE < given["bytes"]:
        held.append(mmap.mmap(-1, PIECE))
        held[-1][::4096] = b"\1" * (PIECE // 4096)
    return f"{len(held) * PIECE} bytes"


def memory_of_eight(given, _):
    """Eight processes, each within the limit on one."""
    for _ in range(8):
        if os.fork() == 0:
            held = bytearray(given["bytes"] // 8)
            os._exit(0 if held else 1)
    for _ in range(8):
        os.wait()
    return "taken"


def memory_file(given, _):
    descriptor = os.memfd_create("fill", 0)
    os.ftruncate(descriptor, given["bytes"])
    return "taken"


def system_v_memory(*_):
    """Segments that outlive their makers; this one is marked for removal at once."""
    identifier = check(libc().shmget(0, ctypes.c_size_t(1 << 20), 0o600 | 0o1000))
    libc().shmctl(identifier, 0, None)
    return "made"


def fill(name):
    """Three files in the folder that `given` has under `name`."""

    def attack(given, _):
        for number in range(3):
            Path(given[name], f"assay-fill-{number}").write_bytes(bytes(1 << 16))
        return "filled"

    return attack


def descriptors(*_):
    """More than a job may hold."""
    held = [os.dup(0) for _ in range(100)]
    for descriptor in held:
        os.close(descriptor)
    return f"{len(held)} open"


def loop(*_):
    while True:
        pass


def deaf_loop(*_):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU, signal.SIGALRM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    loop()


def sleep(*_):
    time.sleep(600)


def stop(*_):
    """A stopped process uses no time and answers nothing."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return "stopped"


def response_of(job):
    return 1 if job is None else job.response


def endless_output(_, job):
    while True:
        os.write(response_of(job), b"\x00\xff\xff\xff" + b"A" * 65532)


def endless_errors(*_):
    while True:
        os.write(2, b"\x1b[31mE" * 8192)


def announced(_, job):
    """Promises more than it may write."""
    write_all(response_of(job), (1 << 31).to_bytes(4, "big"))
    time.sleep(600)


def forged(content):
    def attack(_, job):
        write_all(response_of(job), len(content).to_bytes(4, "big") + content)
        return "forged"

    return attack


def second_reply(_, job):
    """Two answers to one question: the second would be taken for the next."""
    content = json.dumps(GOOD).encode()
    write_all(response_of(job), len(content).to_bytes(4, "big") + content)
    return "and another"


FORGERIES = {
    "deep-json": b"[" * 100_000,
    "not-a-number": b'{"op": "attack", "succeeded": NaN, "detail": ""}',
    "duplicate-keys": b'{"op": "attack", "succeeded": true, "succeeded": false, "detail": ""}',
    "invalid-utf8": b'{"op": "attack", "succeeded": false, "detail": "\xff"}',
    "forged-event": b'{"op": "attack", "succeeded": false, "detail": "", "events": [], "outcome": "ok"}',
    "forged-ending": b'{"ended": {"status": 0, "cpu": 0}}',
    "other-question": b'{"op": "generate", "texts": [], "tokens": []}',
}

DEEDS = {
    "memory-at-once": memory_at_once,
    "memory-piecewise": memory_piecewise,
    "memory-shared": memory_shared,
    "memory-of-eight": memory_of_eight,
    "memory-file": memory_file,
    "system-v-memory": system_v_memory,
    "fill-tmp": fill("tmp_folder"),
    "fill-shm": fill("shm_folder"),
    "descriptors": descriptors,
    "loop": loop,
    "deaf-loop": deaf_loop,
    "sleep": sleep,
    "stop-itself": stop,
    "endless-output": endless_output,
    "endless-errors": endless_errors,
    "announced-output": announced,
    "second-reply": second_reply,
    **{name: forged(content) for name, content in FORGERIES.items()},
}
