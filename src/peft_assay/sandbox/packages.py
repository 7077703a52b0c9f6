"""List the installed packages that the inside needs: torch, transformers, PEFT and their requirements, with their
files.

Their common folder is not listed: it may also hold other packages, an installer's configuration with its password, and
hooks of editable installs. A package is its own folders and modules, as its record of files names them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import cache_from_source
from pathlib import Path

LIBRARIES = ("torch", "transformers", "peft", "safetensors", "tokenizers", "numpy", "landlockpy")
OPTIONAL = (
    "scikit-learn",
    "scipy",
    "sentencepiece",
    "tiktoken",
    "protobuf",
    "einops",
    "pillow",
    "torchvision",
    "bitsandbytes",
    "torchao",
    "compressed-tensors",
    "optimum",
    "hqq",
    "aqlm",
    "eetq",
    "gptqmodel",
    "mamba-ssm",
    "causal-conv1d",
    "kernels",
)
"""Packages that transformers and PEFT use where they are there: for some tokenizers, bases and types of adapters."""
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SUFFIXES = (".py", *EXTENSION_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Packages:
    """The installed packages that can be read and imported inside."""

    folders: tuple[Path, ...]
    """Folders and files; libraries beside a package (``numpy.libs``) among them."""
    modules: Mapping[str, Path]
    """Places by the name that is imported."""
    versions: Mapping[str, tuple[str, tuple[str, ...]]]
    """By distribution: its version, and the names that it is imported by."""


@cache
def needed_packages() -> Packages:
    """Return `LIBRARIES` and the installed ones of `OPTIONAL`, with all that they require."""
    folders: set[Path] = set()
    modules: dict[str, Path] = {}
    versions: dict[str, tuple[str, tuple[str, ...]]] = {}
    for found in _required((*LIBRARIES, *OPTIONAL)):
        parts = {path.name: path for path in _parts(found)}
        names = {name: path for path in parts.values() if (name := _module(path))}
        folders |= set(parts.values()) | set(_compiled(parts.values()))
        modules |= names
        versions[found.name] = (found.version, tuple(sorted(names)))
    return Packages(tuple(sorted(folders)), modules, versions)


def _required(names: Iterable[str]) -> Iterator[Distribution]:
    """Return the installed ones of `names`, and their requirements without any extra."""
    waiting, seen = list(names), set()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        yield found
        wanted = (requirement for requirement in found.requires or () if "extra ==" not in requirement)
        waiting += [match.group() for match in map(_NAME.match, wanted) if match]


def _parts(found: Distribution) -> Iterator[Path]:
    """Return a distribution's own folders and modules, without paths that lead elsewhere."""
    root = Path(str(found.locate_file(""))).resolve()
    for name in sorted(_named(found)):
        path = root / name
        hidden = name.startswith((".", "__editable__", "__pycache__")) or name.endswith((".dist-info", ".egg-info"))
        if not hidden and (path.is_dir() or (path.is_file() and name.endswith(_SUFFIXES))):
            yield path


def _compiled(parts: Iterable[Path]) -> Iterator[Path]:
    """Return the bytecode of single modules, which lies in a folder that they share; without it they are
    compiled anew.
    """
    for path in parts:
        if path.suffix == ".py":
            compiled = Path(cache_from_source(str(path)))
            if compiled.is_file():
                yield compiled


def _named(found: Distribution) -> set[str]:
    """Return first parts of the paths in its record of files; its module names, where there is no record."""
    record = found.read_text("RECORD")
    if record is not None:
        first = {line.split("/", 1)[0].split(",", 1)[0].strip('"') for line in record.splitlines()}
        return first - {""}  # the first part of an absolute path, which some installers write for editable installs
    names = (found.read_text("top_level.txt") or "").split()
    return {f"{name}{suffix}" for name in names for suffix in ("", *_SUFFIXES)}


def _module(path: Path) -> str | None:
    """Return the name that a folder or a file is imported by; None where it is no module."""
    name = path.name if path.is_dir() else path.name.split(".", 1)[0]
    return name if _MODULE.match(name) else None
