"""Finds what must be visible inside: interpreter, libraries, harness. Imports none of it."""

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import ObservationError
from peft_assay.sandbox.interface import Mounts, Program

INSTALL = "pip install 'peft-assay[sandbox]'"
LIBRARIES = ("torch", "transformers", "peft", "safetensors", "tokenizers", "numpy", "landlockpy")
HARNESS = ("peft_assay_harness", "peft_assay_loading")
SYSTEM = ("/usr", "/lib", "/lib64", "/lib32", "/libx32", "/bin", "/sbin")
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",  # noqa: S108 - the sandbox's own
    "TMPDIR": "/tmp",  # noqa: S108 - the sandbox's own
    "USER": "assay",
    "LC_ALL": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONHASHSEED": "0",
    "PYTHONNOUSERSITE": "1",
    "PYTHONWARNINGS": "ignore",
}
"""All that a worker inherits: nothing of the caller's environment, which may hold secrets."""


def harness_program() -> Program:
    """The worker that exercises adapters; raises ObservationError when it is not installed."""
    return Program("peft_assay_harness", tuple(package_folder(name) for name in HARNESS))


def package_folder(name: str) -> Path:
    """Folder of an importable package; raises ObservationError when there is none."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise ObservationError(f"the package {name} is not installed", next_step=INSTALL)
    return Path(found.origin).parent


def mounts_for(program: Program, base: Path) -> Mounts:
    """Read-only folders for `program` on `base`; raises ObservationError when a library or the base is missing."""
    if not (base / "config.json").is_file():
        raise ObservationError("there is no base model (no config.json)", where=str(base))
    libraries = {package_folder(name).parent for name in LIBRARIES}
    prefixes = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.base_exec_prefix)}
    prefixes |= {interpreter().parents[1]}
    folders = {path.absolute() for path in (*prefixes, *libraries, *program.folders, base)}
    folders |= {path.resolve() for path in folders}
    visible = (*map(Path, SYSTEM), *folders)
    return Mounts(
        folders=tuple(sorted(path for path in folders if not _below(path, set(visible) - {path}))),
        module_path=tuple(sorted({path.parent for path in program.folders} | (libraries - _site_folders()))),
    )


def interpreter() -> Path:
    """The running interpreter's file, with symbolic links followed."""
    return Path(sys.executable).resolve()


def identity(program: Program) -> dict[str, str]:
    """What the worker must find itself to be (peft_assay_harness.identity compares)."""
    return {
        "executable": str(interpreter()),
        "version": sys.version,
        "standardLibrary": hashlib.sha256(Path(os.__file__).read_bytes()).hexdigest(),
        "harness": files_digest(program.folders),
    }


def files_digest(folders: Iterable[Path]) -> Digest:
    """Digest over the lines ``<sha256 of the file>  <folder>/<path>`` of all Python files in `folders`, sorted."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {folder.name}/{path.relative_to(folder).as_posix()}\n"
        for folder in folders
        for path in folder.rglob("*.py")
    ]
    return sha256("".join(sorted(lines)).encode())


def _site_folders() -> set[Path]:
    return {Path(entry) for entry in sys.path if Path(entry).is_relative_to(sys.prefix)}


def _below(path: Path, others: set[Path]) -> bool:
    return any(path.is_relative_to(other) for other in others)
