"""Kernel interfaces that widen what can be attacked, and other doors to the same system calls."""

import ctypes
import errno
import mmap
import os
import resource
import signal
import socket

from breakout.processes import check, libc

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
TIOCSTI = 0x5412
X32 = 0x40000000
REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS}


def unshare(flag):
    def attack(*_):
        check(libc().unshare(flag))
        return "made"

    return attack


def clone_into_namespace(given, _):
    """The other way to a user namespace, which a rule on unshare alone forgets."""
    child = check(libc().syscall(given["numbers"]["clone"], CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0))
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "made"


def io_uring(given, _):
    """System calls through it are seen by no filter."""
    descriptor = check(libc().syscall(given["numbers"]["io_uring_setup"], 8, ctypes.create_string_buffer(256)))
    os.close(descriptor)
    return "set up"


def reaching(name, *arguments):
    """Whether the kernel's own code looks at the arguments, right or wrong."""

    def attack(given, _):
        words = [ctypes.c_long(argument) for argument in (*arguments, *[0] * (6 - len(arguments)))]
        result = libc().syscall(ctypes.c_long(given["numbers"][name]), *words)
        if result < 0 and ctypes.get_errno() in REFUSED:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return "reached"

    return attack


def type_for_the_terminal(*_):
    """TIOCSTI: characters as if somebody had typed them. Without a terminal ENOTTY shows that it was looked at."""
    if libc().ioctl(2, TIOCSTI, b"x") < 0 and ctypes.get_errno() in REFUSED:
        raise OSError(ctypes.get_errno(), "refused")
    return "reached"


def x32(*_):
    """The same calls under other numbers (x86-64 only): getpid."""
    return f"process {check(libc().syscall(ctypes.c_long(X32 + 39)))}"


def i386(*_):
    """The 32-bit door of a 64-bit kernel, where numbers mean other calls: getpid through int 0x80."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20; int 0x80; ret
    call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    if (process := call()) != os.getpid():
        raise OSError(errno.ENOSYS, f"answered {process}")
    return "called"


def become(*_):
    """Sets the user ids that it has already: allowed to everybody."""
    os.setresuid(os.getuid(), os.getuid(), os.getuid())
    return "set"


def raise_limits(*_):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    except ValueError as error:  # Python's word for EPERM here
        raise PermissionError(str(error)) from None
    return "set"


def send_message(*_):
    """Passing the filter's listener on would let the child answer its own notifications."""
    left, right = socket.socketpair()
    left.sendmsg([b"x"])
    right.close()
    return "sent"


def raw_send_message(given, job):
    """sendmsg by number, on a descriptor that is at hand."""
    descriptor = os.open("/dev/null", os.O_RDONLY) if job is None else job.response
    libc().syscall(given["numbers"]["sendmsg"], descriptor, 0, 0)
    return "reached"


def storm(given, _):
    """Ever more refused calls, to drown the one that matters."""
    for _attempt in range(1000):
        libc().syscall(given["numbers"]["inotify_init1"], -1)
    return "done"


DEEDS = {
    "user-namespace": unshare(CLONE_NEWUSER),
    "network-namespace": unshare(CLONE_NEWUSER | CLONE_NEWNET),
    "clone-into-namespace": clone_into_namespace,
    "enter-namespace": reaching("setns", -1, 0),
    "io-uring": io_uring,
    "bpf": reaching("bpf", 0, 0, 0),
    "keyctl": reaching("keyctl", 0, -3, 1),
    "add-key": reaching("add_key", 0, 0, 0, 0, -3),
    "userfaultfd": reaching("userfaultfd", 1),
    "perf-events": reaching("perf_event_open", 0, 0, -1, -1, 0),
    "mount": reaching("mount", 0, 0, 0, 0, 0),
    "file-handles": reaching("open_by_handle_at", -100, 0, 0),
    "second-filter": reaching("seccomp", 2, 0, 0),
    "terminal-input": type_for_the_terminal,
    "x32-calls": x32,
    "i386-calls": i386,
    "change-user": become,
    "change-limits": raise_limits,
    "socket-message": send_message,
    "raw-socket-message": raw_send_message,
    "storm-of-calls": storm,
}
