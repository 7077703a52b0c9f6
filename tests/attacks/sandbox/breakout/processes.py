"""Other processes: debugging, signalling and rewriting them, becoming others, making more, outliving the job."""

import ctypes
import fcntl
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

PTRACE_SEIZE = 0x4206
"""Attaches without stopping whom it attaches to; the tracer's end detaches."""
ADDRESS = 0x10000


def libc():
    return ctypes.CDLL(None, use_errno=True)


def check(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def target(given, whose):
    return os.getppid() if whose == "worker" else given["pid"]


def trace(whose):
    def attack(given, _):
        check(libc().ptrace(PTRACE_SEIZE, target(given, whose), 0, 0))
        return "attached"

    return attack


def signalling(whose):
    def attack(given, _):
        os.kill(target(given, whose), 0)
        return "signalled"

    return attack


def shared_pipe(job):
    """A pipe that is at hand; without walls, where it has no reader to be disturbed, a new one."""
    return os.pipe()[1] if job is None else 2


def signal_by_descriptor(given, job):
    """Has the kernel send signals for a pipe's every byte (fcntl(2), F_SETOWN): no kill() is needed."""
    fcntl.fcntl(shared_pipe(job), fcntl.F_SETOWN, target(given, "worker"))
    return "owned"


def flags_of_shared_pipe(_, job):
    """O_NONBLOCK belongs to the open pipe, not to a process: the worker and its later children would write to it."""
    pipe = shared_pipe(job)
    fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_NONBLOCK)
    return "changed"


def watch_folder(_, __):
    """A signal for whatever others do in a folder (F_NOTIFY): this program's own can be listed by its children."""
    folder = os.open(os.path.dirname(__file__), os.O_RDONLY)
    try:
        fcntl.fcntl(folder, fcntl.F_NOTIFY, fcntl.DN_ACCESS)
    finally:
        os.close(folder)
    return "watched"


def limits_of_worker(given, _):
    """Asks after another process; with prlimit(2) its limits could be set, too."""
    resource.prlimit(target(given, "worker"), resource.RLIMIT_NOFILE)
    return "read"


def group_signal(*_):
    """Every process that may be signalled, with signal 0."""
    check(libc().kill(-1, 0))
    return "signalled"


def pidfd(whose):
    def attack(given, _):
        os.close(os.pidfd_open(target(given, whose)))
        return "opened"

    return attack


def first_mapping(process):
    """A readable and writable address of another process; a guess where its map cannot be read."""
    try:
        lines = Path(f"/proc/{process}/maps").read_text("ascii").splitlines()
    except OSError:
        return ADDRESS
    return next((int(line.split("-")[0], 16) for line in lines if " rw" in line), ADDRESS)


def other_memory(call, whose):
    """process_vm_readv, or process_vm_writev of the very bytes that were read."""

    class Vector(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    def attack(given, _):
        process = target(given, whose)
        buffer = ctypes.create_string_buffer(8)
        mine, theirs = Vector(ctypes.addressof(buffer), 8), Vector(first_mapping(process), 8)
        for name in dict.fromkeys(("process_vm_readv", call)):
            result = getattr(libc(), name)(process, ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0)
            if name == call:
                check(result)
        return "done"

    return attack


def memory_file(whose, mode):
    def attack(given, _):
        os.close(os.open(f"/proc/{target(given, whose)}/mem", mode))
        return "opened"

    return attack


def execute(*_):
    os.execv("/bin/true", ["true"])


def os_system(*_):
    if os.system("exit 0") != 0:
        raise PermissionError("no shell")
    return "ran"


def run_program(*_):
    subprocess.run(["/bin/true"], check=True, timeout=10)
    return "ran"


def spawn(*_):
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    return "ran"


def program_in_memory(*_):
    """A program that no file system holds."""
    descriptor = os.memfd_create("program", 0)
    os.write(descriptor, Path("/bin/true").read_bytes())
    os.execve(descriptor, ["true"], {})


def raw_execute(given, _):
    """Around Python's audit hooks."""
    arguments = (ctypes.c_char_p * 2)(b"true", None)
    check(libc().syscall(given["numbers"]["execve"], b"/bin/true", arguments, None))


def thread(*_):
    """A child that computes needs no further thread; one that escaped its limits might."""
    done = []
    try:
        worker = threading.Thread(target=lambda: done.append(1))
        worker.start()
        worker.join(5)
    except RuntimeError as error:
        raise OSError(str(error)) from None
    return f"{len(done)} ran"


def fork(*_):
    if os.fork() == 0:
        os._exit(0)
    os.wait()
    return "forked"


def fork_bomb(given, _):
    """As many as there can be. Each waits to be killed with its group."""
    made = 0
    try:
        while made < given["forks"]:
            if os.fork() == 0:
                os.close(1)
                os.close(2)
                time.sleep(20)
                os._exit(0)
            made += 1
    except OSError:
        if not made:
            raise
    return f"{made} made"


def daemon(given, _):
    """Leaves session, group and parent behind, as services do, and goes on when the job is over."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path(given["survivor"]).write_text(str(os.getpid()), "ascii")
            for descriptor in (0, 1, 2):
                os.close(descriptor)
            time.sleep(20)
        os._exit(0)
    os.wait()
    deadline = time.monotonic() + 5
    while not Path(given["survivor"]).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return "left"


def survive_parent(*_):
    """Undoes that the kernel ends this process with its parent."""
    check(libc().prctl(1, 0, 0, 0, 0))
    return "undone"


def debuggable(*_):
    """Makes itself open to debuggers of the same user."""
    check(libc().prctl(4, 1, 0, 0, 0))
    return "undone"


def new_session(*_):
    if os.fork() == 0:
        os.setsid()
        os._exit(0)
    os.wait()
    return "left"


def interpreter_again(*_):
    os.execv(sys.executable, [sys.executable, "-c", "pass"])


DEEDS = {
    "trace-worker": trace("worker"),
    "trace-supervisor": trace("supervisor"),
    "signal-worker": signalling("worker"),
    "signal-supervisor": signalling("supervisor"),
    "signal-everybody": group_signal,
    "signal-by-descriptor": signal_by_descriptor,
    "flags-of-shared-pipe": flags_of_shared_pipe,
    "watch-folder": watch_folder,
    "limits-of-worker": limits_of_worker,
    "pidfd-of-worker": pidfd("worker"),
    "pidfd-of-supervisor": pidfd("supervisor"),
    "read-worker-memory": other_memory("process_vm_readv", "worker"),
    "write-worker-memory": other_memory("process_vm_writev", "worker"),
    "read-supervisor-memory": other_memory("process_vm_readv", "supervisor"),
    "write-supervisor-memory": other_memory("process_vm_writev", "supervisor"),
    "look-into-worker": memory_file("worker", os.O_RDONLY),
    "patch-worker": memory_file("worker", os.O_RDWR),
    "look-into-supervisor": memory_file("supervisor", os.O_RDONLY),
    "patch-supervisor": memory_file("supervisor", os.O_RDWR),
    "execute": execute,
    "os-system": os_system,
    "run-program": run_program,
    "spawn": spawn,
    "program-in-memory": program_in_memory,
    "raw-execute": raw_execute,
    "interpreter-again": interpreter_again,
    "thread": thread,
    "fork": fork,
    "fork-bomb": fork_bomb,
    "daemon": daemon,
    "new-session": new_session,
    "survive-parent": survive_parent,
    "debuggable-again": debuggable,
}
