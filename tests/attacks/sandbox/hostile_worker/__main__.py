import contextlib
import ctypes
import json
import os
import queue
import signal
import socket
import stat
import sys
import threading
import time
from pathlib import Path

from peft_assay_harness.frames import read_frame, write_all, write_frame
from peft_assay_harness.zygote import Prepared, run

REPLY = {"op": "score", "logLikelihoods": [-1.0], "counts": [1]}


def number(job, *values):
    """Numbers as a reply that the product accepts: none is greater than the logarithm of 1."""
    likely = [-float(value) for value in values]
    write_frame(job.response, {"op": "score", "logLikelihoods": likely, "counts": [1] * len(likely)})


def raw(job, content):
    write_all(job.response, len(content).to_bytes(4, "big") + content)


def framed(reply):
    content = json.dumps(reply).encode()
    return len(content).to_bytes(4, "big") + content


def descriptors():
    kinds = []
    for descriptor in range(64):
        try:
            mode = os.fstat(descriptor).st_mode
        except OSError:
            continue
        kinds.append("folder" if stat.S_ISDIR(mode) else "socket" if stat.S_ISSOCK(mode) else "other")
    return kinds


def syscall(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(
        ctypes.c_long(number),
        *[ctypes.c_long(argument) for argument in arguments],
        *[ctypes.c_long(0)] * (6 - len(arguments)),
    )
    return ctypes.get_errno() if result < 0 else 0


def send_message():
    left, _ = socket.socketpair()
    left.sendmsg([b"x"])


def ignore_and_loop():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass


def flood(job):
    while True:
        os.write(job.response, b"\x00\xff\xff\xff" + b"A" * 65536)


def flood_errors():
    while True:
        os.write(2, b"\x1b[31mE" * 8192)


def eat_memory():
    held = []
    while True:
        held.append(bytearray(b"\1" * (16 << 20)))


def leave_early(job):
    os.close(job.response)
    time.sleep(600)


def many_refused(number):
    for _ in range(1000):
        syscall(number, 2, 1, 0)


ACTIONS = {
    "answer": lambda job, _: write_frame(job.response, REPLY),
    "loop": lambda *_: ignore_and_loop(),
    "sleep": lambda *_: time.sleep(600),
    "stop": lambda *_: os.kill(os.getpid(), signal.SIGSTOP),
    "flood": lambda job, _: flood(job),
    "flood-errors": lambda *_: flood_errors(),
    "memory": lambda *_: eat_memory(),
    "leave": lambda job, _: leave_early(job),
    "crash": lambda *_: ctypes.string_at(0),
    "exit": lambda *_: os._exit(7),
    "exit-well": lambda *_: os._exit(0),
    "raise": lambda *_: (_ for _ in ()).throw(RuntimeError("\x1b[2J\u202eevil")),
    "raw": lambda job, request: raw(job, bytes.fromhex(request["content"])),
    "announce": lambda job, request: write_all(job.response, request["length"].to_bytes(4, "big")),
    "twice": lambda job, _: [write_frame(job.response, REPLY) for _ in range(2)],
    "half": lambda job, _: (write_all(job.response, b"\x00\x00\x00\x09{"), os._exit(0)),
    "syscall": lambda job, request: number(job, syscall(request["number"], *request["arguments"])),
    "seal": lambda *_: send_message(),
    "raw-sendmsg": lambda job, request: syscall(request["number"], job.response, 0, 0),
    "many-refused": lambda _, request: many_refused(request["number"]),
    "descriptors": lambda job, _: number(job, *(descriptors().count(kind) for kind in ("folder", "socket", "other"))),
    "environment": lambda job, request: number(job, any(request["secret"] in value for value in os.environ.values())),
    "files": lambda job, _: number(job, len(job.files or ())),
    "read": lambda job, request: number(job, can_read(request["path"])),
    "write": lambda job, request: number(job, can_write(request["path"])),
    "complain": lambda job, request: (os.write(2, request["words"].encode()), number(job, 1)),
    "answer-ahead": lambda job, _: write_all(job.response, 2 * framed(REPLY)),
}


def can_read(path):
    try:
        os.listdir(path) if Path(path).is_dir() else os.close(os.open(path, os.O_RDONLY))  # noqa: PTH208
    except OSError:
        return False
    return True


def can_write(path):
    try:
        with open(path, "ab") as file:  # noqa: PTH123 - the deed itself
            file.write(b"x")
    except OSError:
        return False
    return True


def serve(job):
    while (request := read_frame(job.request)) is not None:
        ACTIONS[request["do"]](job, request)


class Helper(threading.Thread):
    """A thread that was there before the walls of a job, as a GPU's library makes them, and a node that it opened."""

    def __init__(self):
        super().__init__(daemon=True)
        with contextlib.suppress(OSError):
            self.node = os.open("/dev/zero", os.O_RDWR)
        self.orders, self.done = queue.SimpleQueue(), queue.SimpleQueue()

    def run(self):
        while True:
            deed, *arguments = self.orders.get()
            self.done.put(deed(*arguments))

    def does(self, deed, *arguments):
        self.orders.put((deed, *arguments))
        return self.done.get()


def with_helper(helper, job, request):
    """The same deed by another thread of the process."""
    if request["do"] == "read-node":
        return number(job, len(os.read(helper.node, 8)), can_write("/dev/zero"))
    if request["do"] == "helper-reads":
        return number(job, helper.does(can_read, request["path"]))
    return number(job, helper.does(syscall, request["number"], *request["arguments"]))


def prepare(options):
    if options.dtype == "helper":
        options.before_device()
        helper = Helper()
        helper.start()
        for name in ("read-node", "helper-reads", "helper-calls"):
            ACTIONS[name] = lambda job, request: with_helper(helper, job, request)
    if options.dtype == "slow":
        time.sleep(60)  # as loading a large base takes
    return Prepared({"state": "sha256:" + "0" * 64, "parameters": 1, "stack": {}}, serve)


if __name__ == "__main__":
    if sys.argv[1] == "--direct":  # the positive control: the same deed without any sandbox
        print(json.dumps(syscall(*map(int, sys.argv[2:]))), flush=True)  # noqa: T201 - a program of its own
        sys.exit(0)
    sys.exit(run(prepare))
