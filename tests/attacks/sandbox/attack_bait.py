"""Things outside that anybody on the host could reach, so that only the sandbox's walls stand before them."""

import hashlib
import os
import pickle
import secrets
import shutil
import signal
import socket
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

CALLS = (
    "add_key", "bpf", "clone", "execve", "inotify_init1", "io_uring_setup", "keyctl", "mount", "open_by_handle_at",
    "perf_event_open", "sendmsg", "seccomp", "setns", "userfaultfd",
)  # fmt: skip

HARNESS = Path(__file__).resolve().parent / "breakout" / "__init__.py"


class Command:
    """Unpickling this runs a shell command: what `adapter_model.bin` can hold."""

    def __init__(self, line: str) -> None:
        self.line = line

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.line,)


class Bait:
    """A home with secrets, a copy of the base, and listeners; `traces` says what an attack left on them."""

    def __init__(self, folder: Path, base: Path | None, secret: str) -> None:
        self.folder = folder
        self.base = folder / "base"
        self._nonce = secrets.token_hex(4)
        (folder / "home").mkdir(parents=True)
        if base is None:
            self.base.mkdir()
            (self.base / "config.json").write_text("{}", "utf-8")
        else:
            shutil.copytree(base, self.base)
        for name in (".ssh/id_ed25519", ".cache/huggingface/token", ".netrc", ".profile", "removable"):
            file = folder / "home" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(secret, "utf-8")
        (self.base / "notes.csv").write_text(secret, "utf-8")
        (folder / "project").mkdir()
        (folder / "project" / "cases.jsonl").write_text(secret, "utf-8")
        (self.base / "link").symlink_to(folder / "home" / ".netrc")
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o777 if path.is_dir() else 0o666)
        self._listeners = dict(self._listen())
        self._before = self._tree()

    def _listen(self) -> Iterator[tuple[str, socket.socket]]:
        wanted: dict[str, tuple[int, int, Any]] = {
            "tcp4": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "metadata": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "abstract": (socket.AF_UNIX, socket.SOCK_STREAM, f"\0assay-bait-{self._nonce}"),
            "socket": (socket.AF_UNIX, socket.SOCK_STREAM, str(self.folder / "home" / "socket")),
        }
        if socket.has_ipv6:
            wanted["tcp6"] = (socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0))
        for name, (family, kind, address) in wanted.items():
            listener = socket.socket(family, kind)
            try:
                listener.bind(address)
            except OSError:  # a host without IPv6 on its loopback
                listener.close()
                continue
            if kind == socket.SOCK_STREAM:
                listener.listen()
            listener.setblocking(False)
            yield name, listener
        (self.folder / "home" / "socket").chmod(0o777)

    def given(self, numbers: dict[str, int]) -> dict[str, Any]:
        """What a deed behind walls is told; with it anybody outside could carry it out."""
        home, left = self.folder / "home", f"assay-left-{self._nonce}"
        ports = {name: self._port(name) for name in ("tcp4", "tcp6", "udp", "metadata")}
        return {
            **ports,
            "abstract": f"assay-bait-{self._nonce}",
            "socket": str(home / "socket"),
            "key": str(home / ".ssh" / "id_ed25519"),
            "token": str(home / ".cache" / "huggingface" / "token"),
            "netrc": str(home / ".netrc"),
            "shadow": "/etc/shadow",
            "notes": str(self.base / "notes.csv"),
            "answers": str(self.folder / "project" / "cases.jsonl"),
            "settings": str(Path(sys.prefix) / "pyvenv.cfg"),
            "hooks": str(next(Path(sysconfig.get_path("purelib")).glob("*.pth"), "/etc/passwd")),
            "link": str(self.base / "link"),
            "base": str(self.base),
            "config": str(self.base / "config.json"),
            "profile": str(home / ".profile"),
            "home": str(home),
            "removable": str(home / "removable"),
            "harness": str(HARNESS),
            "tmp": f"/tmp/{left}",
            "shm": f"/dev/shm/{left}",
            "tmp_folder": "/tmp",
            "shm_folder": "/dev/shm",
            "survivor": str(home / "survivor"),
            "pickle": pickle.dumps(Command(f"touch {home / 'touched'}")).hex(),
            "pid": os.getpid(),
            "forks": 3000,
            "numbers": numbers,
        }

    def given_without_walls(self, numbers: dict[str, int]) -> dict[str, Any]:
        """The same with harmless amounts, and with places of its own for what would be left in shared ones."""
        places = {name: str(self.folder / name) for name in ("harness", "tmp", "shm")}
        folders = {name: str(self.folder) for name in ("tmp_folder", "shm_folder")}
        return self.given(numbers) | places | folders | {"forks": 8, "bytes": 64 << 20}

    def _port(self, name: str) -> int:
        listener = self._listeners.get(name)
        return 1 if listener is None else int(listener.getsockname()[1])

    def _tree(self) -> dict[str, str]:
        """Every path below the folder with its mode and content, and what was left in the host's shared folders."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            state = path.lstat()
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[str(path)] = f"{state.st_mode:o} {state.st_nlink if path.is_file() else ''} {content}"
        for shared in (Path("/tmp"), Path("/dev/shm")):
            for left in (*shared.glob(f"assay-left-{self._nonce}"), *shared.glob("assay-fill-*")):
                found[str(left)] = "left"
        return found

    def traces(self) -> list[str]:
        """What is there that was not: connections, datagrams, files."""
        met = [name for name, listener in self._listeners.items() if _visited(listener)]
        now = self._tree()
        changed = [path for path in {*now, *self._before} if now.get(path) != self._before.get(path)]
        return sorted(met + changed)

    def end_survivor(self) -> bool:
        """Whether a process outlived the deed that made it; it is ended here."""
        survivor = self.folder / "home" / "survivor"
        if not survivor.exists() or not (process := survivor.read_text("ascii")):
            return False
        try:
            os.kill(int(process), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners.values():
            listener.close()


def _visited(listener: socket.socket) -> bool:
    met = False
    while True:
        try:
            if listener.type == socket.SOCK_DGRAM:
                listener.recv(4096)
            else:
                listener.accept()[0].close()
            met = True
        except BlockingIOError:
            return met
