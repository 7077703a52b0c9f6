import ctypes
import json
import os
import signal
import socket
import stat
import sys
import time
from pathlib import Path

from peft_assay_harness.frames import read_frame, write_all, write_frame
from peft_assay_harness.zygote import Prepared, run

REPLY = {"op": "score", "logLikelihoods": [-1.0]}


def raw(job, content):
    write_all(job.response, len(content).to_bytes(4, "big") + content)


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
    "syscall": lambda job, request: write_frame(
        job.response, REPLY | {"logLikelihoods": [float(syscall(request["number"], *request["arguments"]))]}
    ),
    "seal": lambda *_: send_message(),
    "raw-sendmsg": lambda job, request: syscall(request["number"], job.response, 0, 0),
    "many-refused": lambda _, request: many_refused(request["number"]),
    "descriptors": lambda job, _: write_frame(
        job.response,
        REPLY | {"logLikelihoods": [float(descriptors().count(kind)) for kind in ("folder", "socket", "other")]},
    ),
    "environment": lambda job, request: write_frame(
        job.response,
        REPLY | {"logLikelihoods": [float(any(request["secret"] in value for value in os.environ.values()))]},
    ),
    "files": lambda job, _: write_frame(job.response, REPLY | {"logLikelihoods": [float(len(job.files or ()))]}),
    "read": lambda job, request: write_frame(
        job.response, REPLY | {"logLikelihoods": [float(can_read(request["path"]))]}
    ),
    "write": lambda job, request: write_frame(
        job.response, REPLY | {"logLikelihoods": [float(can_write(request["path"]))]}
    ),
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


def prepare(_):
    return Prepared({"state": "sha256:" + "0" * 64, "parameters": 1, "stack": {}}, serve)


if __name__ == "__main__":
    if sys.argv[1] == "--direct":  # the positive control: the same deed without any sandbox
        print(json.dumps(syscall(*map(int, sys.argv[2:]))), flush=True)  # noqa: T201 - a program of its own
        sys.exit(0)
    sys.exit(run(prepare))
