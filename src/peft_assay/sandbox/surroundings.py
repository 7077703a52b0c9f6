"""Finds the files that must be visible inside: those of interpreter, libraries, harness and base, and no others.

Other files in an interpreter's environment, a system folder or a base's folder may be secrets. This module imports none
of the listed packages.
"""

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import ObservationError
from peft_assay.sandbox.interface import Mounts, Program
from peft_assay.sandbox.loading import base_files, shared_libraries, standard_library
from peft_assay.sandbox.packages import LIBRARIES, needed_packages

INSTALL = "pip install 'peft-assay[sandbox]'"
HARNESS = ("peft_assay_harness", "peft_assay_loading")
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
    """Return the paths that `program` must read to run on `base`; raises ObservationError when a library or the base is
    missing.
    """
    if not (base / "config.json").is_file():
        raise ObservationError("there is no base model (no config.json)", where=str(base))
    packages = needed_packages()
    editable = {name: package_folder(name) for name in LIBRARIES if name not in packages.modules}
    standard, hidden = standard_library()
    own = {folder.name: folder for folder in program.folders}
    readable = {interpreter(), standard, *shared_libraries(), *program.folders, *base_files(base)}
    readable |= {*packages.folders, *editable.values()}
    return Mounts(
        folders=tuple(sorted(path for path in readable if not _below(path, readable - {path}, hidden))),
        module_path=tuple(sorted({path.parent for path in program.folders})),
        hidden=tuple(sorted(path for path in hidden if path.exists())),
        modules={**packages.modules, **editable, **own},
        versions=packages.versions,
    )


def interpreter() -> Path:
    """Return the running interpreter's file, with symbolic links followed; for a copy in an environment, the original.

    The worker is started by it and without the environment's own set-up, which lies where the environment begins.
    """
    found = Path(sys.executable).resolve()
    copied = sys.prefix != sys.base_prefix and found.is_relative_to(Path(sys.prefix).resolve())
    return Path(str(getattr(sys, "_base_executable", found))).resolve() if copied else found


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


def _below(path: Path, others: set[Path], hidden: Iterable[Path]) -> bool:
    """Whether one of `others` shows `path`, too."""
    if any(path.is_relative_to(place) for place in hidden):
        return False
    return any(path.is_relative_to(other) for other in others)
