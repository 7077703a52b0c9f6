"""Backends besides the built-in ones: those that the system's or the user's own sandbox.yaml names, and no others.

An installed package cannot offer itself. The document says which function makes the backend and what the package's
files must be, and what it claims of its level counts for nothing until the start-up attacks have shown it::

    apiVersion: peft-assay/sandbox/v1
    backends:
      company-walls:
        factory: company_walls.backend:make
        package: sha256:<hex>   # peft_assay.sandbox.allowlist.package_digest("company_walls")
    device: cuda                # what adapters are computed on; the processor where it is left out
"""

import hashlib
import importlib
import importlib.util
import os
import pwd
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import ObservationError, StorageError
from peft_assay.core.parse import parse_yaml, validate
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.sandbox.devices import CPU, Device, find_device
from peft_assay.sandbox.interface import Backend, BackendName, Command, Mounts

SYSTEM_FILE = Path("/etc/peft-assay/sandbox.yaml")
USER_FILE = Path(".config/peft-assay/sandbox.yaml")
MAX_BYTES = 1 << 16
RESERVED = frozenset({"namespace", "landlock", "none"})

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]


class _Backend(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    factory: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$", max_length=200)
    package: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    apiVersion: Literal["peft-assay/sandbox/v1"]
    backends: dict[Name, _Backend] = Field(default={}, max_length=16)
    device: Literal["cpu", "cuda"] = "cpu"


@dataclass(frozen=True, slots=True)
class Listed:
    """A backend from the allow-list, under the name that the list gives it."""

    inner: Backend
    name: BackendName
    factory: str
    package: Digest

    @property
    def ceiling(self) -> IsolationLevel:
        """What the backend claims; the start-up attacks decide."""
        return self.inner.ceiling

    def command(self, worker: Sequence[str], mounts: Mounts) -> Command:
        """The backend's own."""
        return self.inner.command(worker, mounts)

    def describe(self) -> Mapping[str, Any]:
        """The backend's own, with its place in the list."""
        own = {**self.inner.describe(), "backend": self.name}
        return {**own, "factory": self.factory, "package": self.package}


def listed_backends(
    system: Path | None = None, user: Path | None = None
) -> tuple[Mapping[BackendName, Callable[[], Backend]], Path | None]:
    """Makers of the backends that the configuration names, in its order, and the file; the system's file wins.

    Raises DocumentError when the file is malformed, ObservationError when others than root and this user could have
    written it, StorageError when it cannot be read. No module of a backend is imported yet.
    """
    document, path = _document(system, user)
    if document is None or path is None:
        return {}, None
    taken = sorted(RESERVED & set(document.backends))
    if taken:
        raise ObservationError(f"{taken[0]} is the name of a built-in backend", where=f"{path}: backends")
    return {name: _maker(name, entry, path) for name, entry in document.backends.items()}, path


def configured_device(system: Path | None = None, user: Path | None = None) -> Device:
    """What the configuration computes on; raises as `listed_backends` does, and where this host lacks it."""
    document, _ = _document(system, user)
    return find_device(CPU if document is None else document.device)


def _document(system: Path | None, user: Path | None) -> tuple[_Document, Path] | tuple[None, None]:
    path = system or SYSTEM_FILE
    if not os.path.lexists(path):
        found = user or _user_file()
        if found is None or not os.path.lexists(found):
            return None, None
        path = found
    content = parse_yaml(_content(path), where=str(path), max_bytes=MAX_BYTES)
    return validate(_Document, content, where=str(path)), path


def package_digest(package: str) -> Digest:
    """Digest over the lines ``<sha256 of the file>  <path>`` of all files of an importable package, sorted.

    Files that the interpreter writes (``__pycache__``) are left out. Nothing is imported. Raises ObservationError when
    there is no such package.
    """
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ObservationError(f"the package {package} is not installed")
    origin = Path(found.origin)
    files = [origin]
    if found.submodule_search_locations:
        files = [path for path in origin.parent.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(origin.parent).as_posix()}\n"
        for path in files
    ]
    return sha256("".join(sorted(lines)).encode())


def _maker(name: BackendName, entry: _Backend, path: Path) -> Callable[[], Backend]:
    module, _, function = entry.factory.partition(":")

    def make() -> Backend:
        where = f"{path}: backends.{name}"
        actual = package_digest(module.partition(".")[0])
        if actual != entry.package:
            raise ObservationError(
                f"the package of backend {name} is {actual}, not {entry.package}",
                where=where,
                next_step="compare it with the release that you reviewed; if it is right, correct the digest",
            )
        try:
            inner: Backend = getattr(importlib.import_module(module), function)()
            inner.describe()
        except ObservationError:
            raise
        except Exception as error:  # foreign code: whatever it raises, this backend cannot be had
            raise ObservationError(f"backend {name} cannot be made: {error!r}", where=where) from error
        return Listed(inner, name, entry.factory, actual)

    return make


def _user_file() -> Path | None:
    """Below the home that the password database names, whatever $HOME says; None without an account."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir) / USER_FILE
    except KeyError:
        return None


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            for status in (os.fstat(file.fileno()), path.resolve().parent.stat()):
                if status.st_uid not in (0, os.geteuid()) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                    raise ObservationError(
                        "others could have written this",
                        where=str(path),
                        next_step=f"chown and chmod go-w it and its folder: {path.parent}",
                    )
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=str(path)) from error
