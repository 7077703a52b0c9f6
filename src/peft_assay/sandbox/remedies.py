"""What this host lacks for a higher isolation level, and the command that supplies it."""

import os
from collections.abc import Sequence
from pathlib import Path

KERNEL = Path("/proc/sys")
BACKEND_REMEDIES = {"landlock": "boot a kernel with Landlock (5.13 or newer, lsm=landlock,...)"}


def remedy_for(backend: str, kernel: Path = KERNEL) -> str:
    """The command that makes `backend` work, or work better, on this host."""
    if backend in BACKEND_REMEDIES:
        return BACKEND_REMEDIES[backend]
    return namespaces_remedy(kernel) if backend == "namespace" else "see the backend's own documentation"


def namespaces_remedy(kernel: Path = KERNEL) -> str:
    """What allows bubblewrap to make namespaces: the first switch that is found to be off."""
    if _number(kernel / "user/max_user_namespaces") == 0:
        return "allow user namespaces: sysctl -w user.max_user_namespaces=15000"
    if _number(kernel / "kernel/unprivileged_userns_clone") == 0:
        return "allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1"
    if _number(kernel / "kernel/apparmor_restrict_unprivileged_userns") == 1:
        return "allow bubblewrap user namespaces: install AppArmor's profile bwrap-userns-restrict (apparmor-profiles)"
    return (
        "allow user namespaces: in a container, start it with a seccomp profile that allows unshare, clone and mount; "
        "elsewhere AppArmor's profile bwrap-userns-restrict, or sysctl user.max_user_namespaces"
    )


def group_remedy(arguments: Sequence[str] = ()) -> str:
    """What gives this process control groups of its own."""
    if os.geteuid() == 0:
        return "mount /sys/fs/cgroup writable: in a container, --cgroupns=host -v /sys/fs/cgroup:/sys/fs/cgroup:rw"
    command = " ".join(arguments) or "peft-assay certify ..."
    return f"systemd-run --user --scope {command}, or run as root"


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text("ascii"))
    except (OSError, ValueError):
        return None
