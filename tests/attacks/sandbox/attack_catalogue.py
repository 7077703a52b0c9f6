"""Every attack that the matrix runs: its group, what stops it, and what the supervisor must have seen of it.

Groups are those of docs/reference/sandbox-attacks.md, whose tables are generated from this module.
"""

from dataclasses import dataclass, field

FILTER = "system call filter"
READS = "Landlock; at `namespace` its own mounts, too"
OWN_COPY = "memory is the child's own copy"
PARSER = "strict parser of replies"
LIMIT = "address space limit"

NEW_PROCESS = ("clone", "clone3", "fork", "vfork")
OPEN = ("open", "openat")

GROUPS = {
    1: "network and local sockets, with live listeners",
    2: "other people's files and cloud credentials",
    3: "environments and command lines",
    4: "writing, also into base, harness and the adapter itself",
    5: "links that lead out",
    6: "other processes: debugging, signals, their memory",
    7: "kernel interfaces, namespaces, other system call tables",
    8: "running programs",
    9: "many processes",
    10: "memory and disks",
    11: "endless jobs",
    12: "outliving the job",
    13: "output: endless, forged, malformed",
    14: "code in a pickle",
    15: "files that lie",
    17: "poisoning the next job",
}
"""Groups 16, 18, 19 and 20 are no deeds of a child; docs/reference/sandbox-attacks.md names their tests."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One deed of the package `breakout`, and what must become of it behind walls."""

    name: str
    group: int
    mechanism: str
    seen: tuple[str, ...] = ()
    """Details of the supervisor's events, one of which must be there; empty: refused silently, or nothing to see."""
    outcome: tuple[str, ...] = ("ok",)
    """How the job may end."""
    namespaced: bool = False
    """Only the level `namespace` promises it."""
    succeeds: bool = False
    """Allowed inside, because nobody else notices."""
    endless: bool = False
    """The positive control is that it does not end by itself."""
    host_may_refuse: bool = False
    """Some hosts, or users without privileges, cannot do it without walls either."""
    own_filter_first: bool = False
    """A host that denies namespaces by a filter of its own answers before the supervisor could see the call."""
    controlled: bool = True
    """Whether it has a positive control in a process of its own."""
    bytes: int = 160 << 20
    limits: dict[str, float] = field(default_factory=dict)
    """Other limits than the matrix's, by field of core.sandbox.Limits."""


def _seen(group: int, mechanism: str, names: dict[str, tuple[str, ...]], **more: object) -> list[Attack]:
    return [Attack(name, group, mechanism, seen, **more) for name, seen in names.items()]  # type: ignore[arg-type]


SOCKET = ("socket",)
BRIEF = {"wall_seconds": 1.0}

ATTACKS = (
    *_seen(1, FILTER, dict.fromkeys(("tcp4", "udp", "unix-abstract", "unix-path", "netlink"), SOCKET)),
    Attack("tcp6", 1, FILTER, SOCKET, host_may_refuse=True),
    *_seen(2, READS, dict.fromkeys(("read-ssh-key", "read-hub-token", "read-netrc"), ())),
    *_seen(2, READS, dict.fromkeys(("read-expected-answers", "read-beside-base"), ())),
    Attack("read-environment-settings", 2, READS, host_may_refuse=True),
    Attack("read-import-hooks", 2, READS, host_may_refuse=True),
    Attack("read-shadow", 2, READS, host_may_refuse=True),
    Attack("cloud-metadata", 2, FILTER, SOCKET),
    Attack("own-environment", 3, "the worker inherits none"),
    *_seen(3, READS, dict.fromkeys(("environ-of-self", "environ-of-parent"), ())),
    Attack("environ-of-supervisor", 3, READS),
    Attack("command-line-of-supervisor", 3, READS),
    Attack("environ-of-first", 3, READS, host_may_refuse=True),
    Attack("see-supervisor", 3, "its own process namespace", namespaced=True),
    *_seen(4, FILTER, dict.fromkeys(("write-base", "write-harness", "write-home", "write-tmp", "write-shm"), OPEN)),
    Attack("write-own-adapter", 4, "sealed memory files, closed once read", controlled=False),
    *_seen(
        4,
        FILTER,
        {
            "make-folder": ("mkdir", "mkdirat"),
            "make-fifo": ("mknod", "mknodat"),
            "remove-file": ("unlink", "unlinkat"),
            "rename-file": ("rename", "renameat", "renameat2"),
            "change-mode": ("chmod", "fchmodat", "fchmodat2"),
            "truncate-file": ("truncate",),
        },
    ),
    *_seen(5, FILTER, {"make-symlink": ("symlink", "symlinkat"), "make-hard-link": ("link", "linkat")}),
    *_seen(5, READS, dict.fromkeys(("climb-from-base", "follow-symlink"), ())),
    *_seen(
        6,
        FILTER,
        {
            "trace-worker": ("ptrace",),
            "trace-supervisor": ("ptrace",),
            "pidfd-of-worker": ("pidfd_open",),
            "pidfd-of-supervisor": ("pidfd_open",),
            "read-worker-memory": ("process_vm_readv",),
            "write-worker-memory": ("process_vm_writev",),
            "read-supervisor-memory": ("process_vm_readv",),
            "write-supervisor-memory": ("process_vm_writev",),
            "patch-worker": OPEN,
            "patch-supervisor": OPEN,
        },
        host_may_refuse=True,
    ),
    *_seen(6, FILTER, dict.fromkeys(("signal-worker", "signal-supervisor", "signal-everybody"), ("kill",))),
    *_seen(6, FILTER, dict.fromkeys(("signal-by-descriptor", "flags-of-shared-pipe", "watch-folder"), ("fcntl",))),
    Attack("limits-of-worker", 6, FILTER, ("prlimit64",)),
    *_seen(6, READS, dict.fromkeys(("look-into-worker", "look-into-supervisor"), ()), host_may_refuse=True),
    *_seen(
        7,
        FILTER,
        {
            "user-namespace": ("unshare",),
            "network-namespace": ("unshare",),
            "io-uring": ("io_uring_setup",),
            "bpf": ("bpf",),
            "keyctl": ("keyctl",),
            "add-key": ("add_key",),
            "userfaultfd": ("userfaultfd",),
            "perf-events": ("perf_event_open",),
            "mount": ("mount",),
            "file-handles": ("open_by_handle_at",),
            "enter-namespace": ("setns",),
        },
        host_may_refuse=True,
    ),
    *_seen(
        7,
        FILTER,
        {
            "terminal-input": ("ioctl",),
            "change-user": ("setresuid",),
            "change-limits": ("prlimit64", "setrlimit"),
            "debuggable-again": ("prctl",),
            "socket-message": ("socketpair",),
        },
    ),
    Attack("clone-into-namespace", 7, FILTER, ("clone",), host_may_refuse=True, own_filter_first=True),
    Attack("x32-calls", 7, FILTER, ("a sealed or foreign system call",), ("crash",), host_may_refuse=True),
    Attack("i386-calls", 7, FILTER, ("a sealed or foreign system call",), ("crash",), host_may_refuse=True),
    Attack("second-filter", 7, "sealing filter", ("a sealed or foreign system call",), ("crash",)),
    Attack("raw-socket-message", 7, "sealing filter", ("a sealed or foreign system call",), ("crash",)),
    Attack("storm-of-calls", 7, "cap on refused calls", ("inotify_init1",), ("crash",)),
    *_seen(
        8,
        FILTER,
        {
            "execute": ("execve",),
            "interpreter-again": ("execve",),
            "raw-execute": ("execve",),
            "os-system": NEW_PROCESS,
            "run-program": ("pipe2", *NEW_PROCESS),
            "spawn": NEW_PROCESS,
            "program-in-memory": ("memfd_create",),
        },
    ),
    *_seen(9, FILTER, dict.fromkeys(("fork", "fork-bomb", "thread"), NEW_PROCESS)),
    *_seen(10, LIMIT, dict.fromkeys(("memory-piecewise", "memory-shared"), ()), bytes=1 << 30),
    Attack("memory-at-once", 10, LIMIT, bytes=30 << 30),
    Attack("memory-of-eight", 10, FILTER, NEW_PROCESS, bytes=8 << 30),
    Attack("memory-file", 10, FILTER, ("memfd_create",)),
    Attack("system-v-memory", 10, FILTER, ("shmget",)),
    *_seen(10, FILTER, dict.fromkeys(("fill-tmp", "fill-shm"), OPEN)),
    Attack("descriptors", 10, "descriptor limit"),
    *_seen(
        11,
        "wall clock",
        dict.fromkeys(("loop", "sleep"), ("wall clock",)),
        outcome=("timeout",),
        endless=True,
        limits=BRIEF,
    ),
    Attack("deaf-loop", 11, "CPU limit", ("cpu",), ("limit",), endless=True, limits={"cpu_seconds": 1}),
    Attack("stop-itself", 11, FILTER, ("kill",), endless=True),
    *_seen(12, FILTER, dict.fromkeys(("daemon", "new-session"), NEW_PROCESS)),
    Attack("survive-parent", 12, FILTER, ("prctl",)),
    *_seen(
        13,
        "byte cap",
        dict.fromkeys(("endless-output", "endless-errors", "announced-output"), ("output",)),
        outcome=("outputCap",),
        endless=True,
    ),
    *_seen(
        13,
        PARSER,
        dict.fromkeys(
            (
                "deep-json",
                "not-a-number",
                "duplicate-keys",
                "invalid-utf8",
                "forged-event",
                "forged-ending",
                "other-question",
            ),
            (),
        ),
        outcome=("invalidOutput",),
        controlled=False,
    ),
    Attack("second-reply", 13, PARSER, (), ("invalidOutput",), controlled=False),
    Attack("unpickle", 14, FILTER, NEW_PROCESS),
    *_seen(
        17,
        OWN_COPY,
        dict.fromkeys(("overwrite-weights", "patch-library", "poison-caches"), ()),
        succeeds=True,
        controlled=False,
    ),
)
