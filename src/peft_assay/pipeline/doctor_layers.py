"""What this host has of each thing that isolation is built of. Reads; changes nothing."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.report.diagnosis import Extra, Layer, State
from peft_assay.sandbox.cgroups import find_place
from peft_assay.sandbox.choose import Chosen
from peft_assay.sandbox.filters import compile_filters
from peft_assay.sandbox.namespace import NamespaceBackend, program_path
from peft_assay.sandbox.privileges import NOBODY, can_become_nobody, permitted
from peft_assay.sandbox.remedies import group_remedy, namespaces_remedy, remedy_for

SECURITY_MODULES = Path("/sys/kernel/security/lsm")
SECCOMP_ACTIONS = Path("/proc/sys/kernel/seccomp/actions_avail")
PROGRAMS = "/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin"
GROUP = "control group: "
"""How `sandbox.choose` begins what it says of control groups."""
_INSTALLERS = {
    "debian": "apt install",
    "ubuntu": "apt install",
    "fedora": "dnf install",
    "rhel": "dnf install",
    "arch": "pacman -S",
    "alpine": "apk add",
    "suse": "zypper install",
    "opensuse": "zypper install",
}


def installation(package: str) -> str:
    """The line that installs a system package here (os-release(5), ID and ID_LIKE); Debian's where nothing is known."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    kinds = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    command = next((_INSTALLERS[kind] for kind in kinds if kind in _INSTALLERS), "apt install")
    return f"{'' if os.geteuid() == 0 else 'sudo '}{command} {package}"


def libraries_layer(extra: Extra) -> Layer:
    """The extra that a worker needs."""
    if extra.absent:
        return Layer("libraries", State.MISSING, f"not installed: {', '.join(extra.absent)}", extra.install)
    shown = (name for name in extra.versions if name in ("torch", "transformers", "peft"))
    return Layer("libraries", State.OK, ", ".join(f"{name} {extra.versions[name]}" for name in shown))


def seccomp_layer() -> Layer:
    """The kernel's notifications and libseccomp, which compiles the filter."""
    actions = _read(SECCOMP_ACTIONS)
    if actions and "user_notif" not in actions.split():
        remedy = "boot a kernel of 5.0 or newer with seccomp filters"
        return Layer("seccomp", State.MISSING, "this kernel cannot notify a supervisor", remedy)
    try:
        compile_filters()
    except ObservationError as error:
        remedy = error.next_step or ""
        remedy = installation(remedy.removeprefix("apt install ")) if remedy.startswith("apt ") else remedy
        return Layer("seccomp", State.MISSING, error.message, remedy)
    return Layer("seccomp", State.OK, "refused system calls reach the supervisor")


def bubblewrap_layer() -> Layer:
    """The program that builds walls of namespaces."""
    try:
        path = program_path("bwrap", "bubblewrap")
    except ObservationError as error:
        return Layer("bubblewrap", State.MISSING, error.message, installation("bubblewrap"))
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False, errors="replace")
    return Layer("bubblewrap", State.OK, f"{path}, {done.stdout.strip() or 'of unknown version'}")


def user_layers() -> tuple[Layer, ...]:
    """Whose rights workers have: never the superuser's."""
    user = os.geteuid()
    if user != 0:
        return (Layer("user", State.OK, f"uid {user}, and so are the workers"),)
    if not can_become_nobody():
        return (Layer("user", State.OK, "root that cannot become another user; a user namespace maps it"),)
    root = Layer("user", State.OK, f"root; workers become uid {NOBODY}")
    try:
        return (root, Layer("setpriv", State.OK, program_path("setpriv", "util-linux")))
    except ObservationError as error:
        return (root, Layer("setpriv", State.MISSING, error.message, installation("util-linux")))


def namespaces_layer(shown: Chosen | None) -> Layer:
    """Whether namespaces can be made: the walls that worked show it, else a program that does nothing but make them."""
    name = "namespaces"
    if shown is not None and isinstance(shown.backend, NamespaceBackend):
        whose = "by root" if shown.backend.setpriv else "in a user namespace"
        proc = "" if shown.backend.proc else "; without a /proc inside, which nobody may mount here"
        return Layer(name, State.OK, f"made {whose}{proc}")
    maker = _making_namespaces()
    if maker is None:
        return Layer(name, State.MISSING, "not known: nothing here makes any", installation("util-linux"))
    done = subprocess.run(maker, capture_output=True, text=True, check=False, errors="replace", timeout=20)
    if done.returncode == 0:
        return Layer(name, State.OK, "can be made")
    said = " ".join(done.stderr.split())[:200]
    return Layer(name, State.MISSING, f"cannot be made: {said}", namespaces_remedy())


def _making_namespaces() -> list[str] | None:
    """A command that makes the namespaces that the sandbox would, and nothing else; None where no program can."""
    privileged = can_become_nobody() and "sys_admin" in permitted()
    if bwrap := shutil.which("bwrap", path=PROGRAMS):
        kinds = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
        return [bwrap, *kinds, *([] if privileged else ["--unshare-user"]), "--ro-bind", "/", "/", "true"]
    if unshare := shutil.which("unshare", path=PROGRAMS):
        kinds = ["--mount", "--pid", "--net", "--ipc", "--uts", "--fork"]
        return [unshare, *kinds, *([] if privileged else ["--user", "--map-root-user"]), "true"]
    return None


def landlock_layer(worked: Chosen | None) -> Layer:
    """Landlock as a worker found it; where none ran, what the kernel says."""
    loaded = "landlock" in _read(SECURITY_MODULES).strip().split(",")
    if worked is None:
        detail = "the kernel has it" if loaded else "the kernel does not say that it has it"
        return Layer(
            "landlock", State.OK if loaded else State.MISSING, detail, "" if loaded else remedy_for("landlock")
        )
    abi = worked.findings.landlock
    if abi:
        return Layer("landlock", State.OK, f"ABI {abi}")
    if loaded:
        remedy = "allow the system calls landlock_* in the seccomp profile of the container around this"
        return Layer("landlock", State.MISSING, "the kernel has it, a filter around this process refuses it", remedy)
    return Layer("landlock", State.MISSING, "not in this kernel", remedy_for("landlock"))


def groups_layer(shown: Chosen | None) -> Layer:
    """Control groups: whether they can be made, and were seen to hold."""
    name = "control groups"
    if shown is None or shown.findings.level(shown.backend.ceiling) < IsolationLevel.NAMESPACE:
        place = find_place()
        detail = "none can be made" if place is None else f"v{place.version}, can be made"
        return Layer(name, State.UNUSED, f"{detail}; they raise the level of namespaces only")
    if shown.place is None:
        said = next((text.removeprefix(GROUP) for text in shown.missing if text.startswith(GROUP)), "none can be made")
        remedy = group_remedy(("peft-assay", "certify", "..."))
        return Layer(name, State.MISSING, said.removesuffix(f" ({group_remedy()})"), remedy)
    held = sorted(bound for bound, bit in shown.findings.bounds.items() if bit)
    return Layer(name, State.OK, f"v{shown.place.version}; seen to hold: {', '.join(held)}")


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""
