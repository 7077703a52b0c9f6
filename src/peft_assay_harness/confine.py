"""What a forked child does to itself before it reads a byte of the adapter. Nothing here can be undone.

The order matters: limits and Landlock first (their own system calls are not on the allow-list), then the filter whose
default action notifies the supervisor, then the hand-over of its listener, then the seal that ends handing over.
The seal kills: with ERRNO it would take precedence over the notification and hide the attempt (seccomp(2)).
"""

import array
import contextlib
import ctypes
import math
import mmap
import os
import resource
import signal
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_TSYNC, SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_FILTER_FLAG_TSYNC_ESRCH = 1, 8, 16
CAPABILITY_VERSION = 0x20080522
CLONE_THREAD = 0x00010000
MAX_DESCRIPTORS = 64
MAX_ADDRESS_SPACE = 1 << 47


@dataclass(frozen=True, slots=True)
class Confinement:
    """Compiled by the supervisor (libseccomp's bindings run other programs to find it), installed here."""

    policy: bytes
    """BPF: allow-list, everything else notifies."""
    seal: bytes
    """BPF: kills on sendmsg and seccomp, which only the hand-over needs."""
    seccomp: int
    """Number of the seccomp system call on this machine."""
    readable: tuple[str, ...]
    """The only paths that a child may read, with their content."""
    devices: tuple[str, ...] = ()
    """Device nodes that were opened for it beforehand."""


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """Bounds of one child."""

    cpu_seconds: int
    memory_bytes: int
    """Address space beyond what the worker has mapped."""


def protect_worker() -> None:
    """No child may open the worker's memory, and the worker dies with whoever started it."""
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end_with(parent: int) -> None:
    """Has this process die with `parent`, which forked it; at once, where that is dead already."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def bound_child(control: socket.socket, limits: ChildLimits) -> None:
    """Limits alone, for a sandbox without walls."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    set_limits(limits)
    control.close()


def confine_child(control: socket.socket, confinement: Confinement, limits: ChildLimits) -> None:
    """Bounds, confines and seals the calling process; its listener goes to the supervisor over `control`.

    A library for a device makes threads, and they get the same filters; Landlock and want of capabilities they have
    from `confine_device_worker`. Other threads there must not be: raises RuntimeError.
    """
    alone = single_threaded()
    if not alone and not confinement.devices:
        raise RuntimeError("this process has several threads, which would not be confined")
    together = 0 if alone else SECCOMP_FILTER_FLAG_TSYNC
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    prctl(PR_SET_DUMPABLE, 0)
    set_limits(limits)
    restrict_reads(confinement.readable)
    drop_capabilities()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | (together and together | SECCOMP_FILTER_FLAG_TSYNC_ESRCH)
    listener = install_filter(confinement.policy, flags, confinement.seccomp)
    passed = array.array("i", [listener])
    control.sendmsg([b'{"listener":1}'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
    os.close(listener)
    control.close()
    install_filter(confinement.seal, together, confinement.seccomp)


def confine_device_worker(readable: Iterable[str], devices: Iterable[str], listable: Iterable[str]) -> None:
    """Before a library that makes threads is initialised: they inherit this, and it could not reach them later."""
    kernel = (folder for folder in ("/proc", "/sys") if os.path.isdir(folder))  # noqa: PTH112 - before pathlib is needed
    restrict_reads((*readable, *kernel), (os.devnull, *devices), listable)
    drop_capabilities()


def set_limits(limits: ChildLimits) -> None:
    """Address space, CPU time, descriptors; no core dumps, no files, no further processes."""
    bound = mapped_bytes() + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    used = math.floor(time.process_time())  # none in a child that was just forked, much in one that loaded the base
    resource.setrlimit(resource.RLIMIT_CPU, (used + limits.cpu_seconds, used + limits.cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MAX_DESCRIPTORS, MAX_DESCRIPTORS))
    for kind in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):
        resource.setrlimit(kind, (0, 0))


def mapped_bytes() -> int:
    """The address space of this process, as RLIMIT_AS counts it.

    Without /proc, as behind walls that could not mount it, it is found where the limit begins to bite.
    """
    with contextlib.suppress(OSError), open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 - a kernel file
        return int(statm.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    low, high = 0, MAX_ADDRESS_SPACE
    try:
        while high - low > resource.getpagesize():
            middle = (low + high) // 2
            resource.setrlimit(resource.RLIMIT_AS, (middle, before[1]))
            try:
                mmap.mmap(-1, resource.getpagesize()).close()
                high = middle
            except (OSError, MemoryError):
                low = middle
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    return high


def single_threaded() -> bool:
    """Whether this process has one thread: a child of one with more would wait for threads that fork did not copy."""
    with contextlib.suppress(OSError):
        return len(os.listdir("/proc/self/task")) == 1  # noqa: PTH208 - before pathlib is needed
    # Without /proc: a process with several threads cannot leave its thread group (unshare(2), EINVAL).
    return int(ctypes.CDLL(None, use_errno=True).unshare(CLONE_THREAD)) == 0


def drop_capabilities() -> None:
    """Gives up what the worker reads private files with (capset(2), version 3; an empty set is always allowed)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    if libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())):
        raise OSError(ctypes.get_errno(), "capset")


def landlock_abi() -> int:
    """Landlock's version in this kernel, 0 when there is none or a filter outside refuses to say."""
    import landlockpy

    try:
        return int(landlockpy.abi_version())
    except OSError:
        return 0


def restrict_reads(paths: Iterable[str], writable: Iterable[str] = (), listable: Iterable[str] = ()) -> None:
    """Landlock: these paths can be read and executed from, nothing else; no TCP, no signals to others.

    `listable` are folders in which names can be read, and no more: transformers lists a base's folder to load it.
    `writable` are devices that can be written to as well: packages that transformers imports where they are installed
    (dill, for one) open the null device for writing while they are imported.
    Does nothing on kernels without Landlock: the start-up attacks then show the open paths.
    """
    import landlockpy

    if not landlock_abi():
        return
    access = landlockpy.AccessFS
    rules = landlockpy.Ruleset(scoped=landlockpy.Scope.ABSTRACT_UNIX_SOCKET | landlockpy.Scope.SIGNAL)
    with rules:
        for path in paths:
            folder = access.READ_DIR if os.path.isdir(path) else access.NONE  # noqa: PTH112 - before pathlib is needed
            with contextlib.suppress(PermissionError):  # what cannot be reached needs no rule
                rules.allow_path(path, access.READ_FILE | access.EXECUTE | folder)
        for path in listable:
            rules.allow_path(path, access.READ_DIR)
        for device in writable:
            rules.allow_path(device, access.READ_FILE | access.WRITE_FILE | access.IOCTL_DEV)
        rules.restrict()


def install_filter(program: bytes, flags: int, number: int) -> int:
    """Installs a BPF program as seccomp filter; returns the listener when `flags` ask for one, else 0."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))

    instructions = ctypes.create_string_buffer(program, len(program))
    described = Program(len(program) // 8, ctypes.addressof(instructions))
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(number, SECCOMP_SET_MODE_FILTER, flags, ctypes.byref(described))
    if result < 0:
        raise OSError(ctypes.get_errno(), "seccomp filter")
    return int(result)


def prctl(option: int, value: int) -> None:
    """Sets one process attribute; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def without(folders: Iterable[str], hidden: Iterable[str]) -> Iterator[str]:
    """Return `folders` as paths without the `hidden` ones: a folder that has some is replaced by its other entries."""
    unseen, shown = set(hidden), set(folders)
    for folder in shown:
        if any(path.startswith(f"{folder}/") for path in unseen):
            yield from _parts_without(folder, unseen)
        else:
            yield folder


def _parts_without(folder: str, hidden: set[str]) -> Iterator[str]:
    with os.scandir(folder) as parts:
        for part in parts:
            if part.path in hidden:
                continue
            if any(path.startswith(f"{part.path}/") for path in hidden):
                yield from _parts_without(part.path, hidden)
            else:
                yield part.path


def confinement_of(setup: Mapping[str, Any]) -> Confinement:
    """The supervisor's set-up message as a Confinement (programs travel in hexadecimal)."""
    return Confinement(
        policy=bytes.fromhex(setup["policy"]),
        seal=bytes.fromhex(setup["seal"]),
        seccomp=int(setup["seccomp"]),
        readable=tuple(without(setup["readable"], setup["hidden"])),
        devices=tuple(setup["devices"]),
    )
