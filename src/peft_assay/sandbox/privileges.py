"""What the supervisor's own user may do: become somebody unprivileged, or not."""

import os
from pathlib import Path

NOBODY = 65534
CAPABILITIES = {"dac_read_search": 2, "setgid": 6, "setuid": 7, "setpcap": 8, "sys_admin": 21}  # linux/capability.h
READ_ANYWHERE = "dac_read_search"
BECOMING = ("setuid", "setgid", "setpcap")
"""Capabilities that setpriv needs to become somebody else."""


def can_become_nobody(process: Path = Path("/proc/self")) -> bool:
    """Whether this is a superuser who can become `NOBODY`.

    Root of a rootless container often cannot: its user namespace maps one id only, or its capabilities were taken.
    """
    return os.geteuid() == 0 and set(BECOMING) <= permitted(process) and _mapped(process / "uid_map")


def permitted(process: Path = Path("/proc/self")) -> set[str]:
    """Those of `CAPABILITIES` that this process may use; none where the kernel does not tell."""
    try:
        lines = (process / "status").read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return set()
    mask = next((int(line.split()[1], 16) for line in lines if line.startswith("CapPrm:")), 0)
    return {name for name, bit in CAPABILITIES.items() if mask >> bit & 1}


def kept_capabilities() -> tuple[str, ...]:
    """What the worker keeps until it forks: reading files of others, where this user may do that itself.

    What root saved is often its own to read only (save_pretrained: mode 0600), and so may be the interpreter's home.
    Each child gives it up before it meets an adapter.
    """
    return tuple({READ_ANYWHERE} & permitted())


def drop_options() -> tuple[str, ...]:
    """Options by which setpriv becomes an unprivileged user."""
    kept = "".join(f",+{name}" for name in kept_capabilities())
    return (
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        "--no-new-privs",
        f"--inh-caps=-all{kept}",
        f"--ambient-caps=-all{kept}",
        f"--bounding-set=-all{kept}",
    )


def _mapped(uid_map: Path) -> bool:
    try:
        rows = [tuple(map(int, line.split())) for line in uid_map.read_text("ascii").splitlines()]
    except (OSError, ValueError):
        return False
    return any(first <= NOBODY < first + length for first, _, length in rows)
