"""The system-call policy of a job, compiled to BPF by libseccomp here and installed by the child as bytes.

Default action: notify the supervisor, which refuses and records. So the allow-list *is* the policy; an ERRNO rule
anywhere would take precedence over the notification and hide the attempt (seccomp(2), "Seccomp filters").
"""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from peft_assay.core.errors import ObservationError
from peft_assay.sandbox.surroundings import INSTALL

TCGETS = 0x5401

# fmt: off
ALLOWED = (
    "access", "arch_prctl", "brk", "capget", "clock_getres", "clock_gettime", "clock_nanosleep", "close", "dup", "exit",
    "exit_group", "faccessat", "faccessat2", "fadvise64", "fstat", "fstatfs", "futex", "get_mempolicy",
    "getcwd", "getdents64", "getegid", "geteuid", "getgid", "getpid", "getppid", "getpriority", "getrandom",
    "getrusage", "gettid", "gettimeofday", "getuid", "lseek", "lstat", "madvise", "membarrier", "mincore", "mmap",
    "mprotect", "mremap", "munmap", "nanosleep", "newfstatat", "poll", "ppoll", "pread64",
    "read", "readlink", "readlinkat", "readv", "restart_syscall", "rseq", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity", "sched_getparam",
    "sched_getscheduler", "sched_yield", "set_robust_list", "set_tid_address", "sigaltstack", "stat", "statfs",
    "statx", "sysinfo", "time", "times", "uname", "write", "writev",
)
# fmt: on
"""Reading what Landlock leaves readable, memory, time, its own pipes. No process, socket, signal or file creation."""

OPENING = {"open": 1, "openat": 2}
"""Position of the flags. Only opening to read is allowed, so that each attempt to write or make a file is an event."""
WRITING = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC

DESCRIPTOR_COMMANDS = (fcntl.F_DUPFD, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_DUPFD_CLOEXEC)
"""Of fcntl(2), only what concerns the caller's own descriptor table. F_SETOWN and F_SETSIG send signals to others,
F_SETFL changes pipes that the worker and later children share, F_NOTIFY and leases watch what others do with files."""

UNFILTERED: Mapping[str, Mapping[str, int]] = {"x86_64": {"uretprobe": 335, "uprobe": 336}}
"""By machine, calls that newer kernels (uretprobe: Linux 6.11, uprobe: 6.18) answer before any filter is asked, so that
they can neither be refused nor seen. Both serve probes that a tracer set from outside: without one the kernel ends the
caller or refuses. Older kernels know neither, and then the filter notifies."""

HAND_OVER = ("sendmsg", "seccomp")
"""Needed once, between the two filters; afterwards they kill, so that the attempt shows in how the child ended."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Compiled programs for this machine."""

    policy: bytes
    seal: bytes
    seccomp: int
    """Number of the seccomp system call."""
    name_of: Callable[[int], str]
    """Name of a system call by number; ``syscall_<number>`` when unknown."""


@cache
def compile_filters(*, devices: bool = False) -> Filters:
    """`devices` allows every ioctl: a driver's commands are not listed anywhere, and a filter sees no file's name.

    Raises ObservationError when libseccomp or its bindings are missing, or too old for notifications.
    """
    seccomp = _bindings()
    policy = seccomp.SyscallFilter(seccomp.NOTIFY)
    for name in (*_known(seccomp, ALLOWED), *HAND_OVER):
        policy.add_rule(seccomp.ALLOW, name)
    for name in _known(seccomp, OPENING):
        policy.add_rule(seccomp.ALLOW, name, seccomp.Arg(OPENING[name], seccomp.MASKED_EQ, WRITING, 0))
    if devices:
        policy.add_rule(seccomp.ALLOW, "ioctl")
    else:
        policy.add_rule(seccomp.ALLOW, "ioctl", seccomp.Arg(1, seccomp.EQ, TCGETS))  # isatty()
    for command in DESCRIPTOR_COMMANDS:
        policy.add_rule(seccomp.ALLOW, "fcntl", seccomp.Arg(1, seccomp.EQ, command))
    # Reading its own limits: not setting them, and not asking after other processes.
    policy.add_rule(seccomp.ALLOW, "prlimit64", seccomp.Arg(0, seccomp.EQ, 0), seccomp.Arg(2, seccomp.EQ, 0))
    seal = seccomp.SyscallFilter(seccomp.ALLOW)
    for program in (policy, seal):  # the default ends a thread only, of which nobody hears where there are several
        program.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.KILL_PROCESS)
    for name in HAND_OVER:
        seal.add_rule(seccomp.KILL_PROCESS, name)
    return Filters(
        policy=_program(policy),
        seal=_program(seal),
        seccomp=int(seccomp.resolve_syscall(seccomp.Arch.NATIVE, "seccomp")),
        name_of=lambda number: _name(seccomp, number),
    )


def _bindings() -> Any:
    try:
        import pyseccomp  # optional, and finding the library runs other programs
    except ImportError:
        raise ObservationError("pyseccomp is not installed", next_step=INSTALL) from None
    except (RuntimeError, OSError):
        raise ObservationError("libseccomp is not installed", next_step="apt install libseccomp2") from None
    return pyseccomp


def _known(seccomp: Any, names: Iterable[str]) -> list[str]:
    """Those that this architecture has: arm64 has no ``open``, ``stat``, ``time``."""
    return [name for name in names if seccomp.resolve_syscall(seccomp.Arch.NATIVE, name) >= 0]


def _program(rules: Any) -> bytes:
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _name(seccomp: Any, number: int) -> str:
    try:
        name = seccomp.resolve_syscall(seccomp.system_arch(), number)
    except (ValueError, OSError):
        name = None
    return name.decode("ascii", "replace") if isinstance(name, bytes) else name or f"syscall_{number}"
