"""The files that loaders read: standard library, shared libraries, and those of a base's files that make a model."""

import json
import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

SYSTEM_LINKS = ("/lib", "/lib64", "/lib32", "/libx32", "/bin", "/sbin")
"""Where these are links into /usr, the linker's own path goes through them."""
NOT_STANDARD = frozenset({"site-packages", "dist-packages", "test", "idlelib", "turtledemo", "ensurepip", "lib2to3"})
"""Parts of the standard library's folder that are left out: other packages installed there, and modules that are never
imported."""
STANDARD_SUFFIXES = (".py", ".so")
BESIDE = (
    "pyvenv.cfg",
    "pip.conf",
    "uv.toml",
    ".env",
    ".netrc",
    ".git",
    ".git/config",
    ".pypirc",
    "etc",
    "requirements.txt",
)
"""Files beside an environment's interpreter and in the folder above it."""
BASE_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.*.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.spm",
    "*.bpe",
    "*.codes",
    "*.tiktoken",
    "tekken.json",
    "preprocessor_config.json",
    "processor_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
)
"""Files that transformers reads in a model's folder; shards are those that the index names."""


TERMS = ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY", "README")
"""How the names of files begin that say what may be done with a base."""


def base_files(base: Path) -> tuple[Path, ...]:
    """Return the files in the base's folder that `BASE_FILES` or the index of shards name; no hidden ones."""
    found = {path for pattern in BASE_FILES for path in base.glob(pattern) if path.is_file()}
    found |= {path for name in _shards(base) if (path := base / name).is_file()}
    return tuple(sorted(path for path in found if not path.name.startswith(".")))


def is_base_file(path: str) -> bool:
    """Return whether a file of this path in a repository may be one that loading a base reads, or states its terms."""
    named = PurePosixPath(path)
    if path.startswith(TERMS):
        return "/" not in path
    shard = "/" not in path and named.suffix == ".safetensors"
    return shard or any(str(named.parent) == str(PurePosixPath(p).parent) and named.match(p) for p in BASE_FILES)


def _shards(base: Path) -> set[str]:
    """Return names of the files that the index names, in the folder itself."""
    try:
        index = json.loads((base / "model.safetensors.index.json").read_bytes())
        names = set(map(str, index["weight_map"].values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()  # without an index, or with one that loading cannot use either
    return {name for name in names if name.endswith(".safetensors") and "/" not in name}


def standard_library() -> tuple[Path, tuple[Path, ...]]:
    """Return its folder, and the paths in it that are no part of it."""
    folder = Path(os.__file__).resolve().parent
    return folder, tuple(sorted(path for path in folder.iterdir() if not _standard(path)))


def _standard(path: Path) -> bool:
    name = path.name
    if name in {"__pycache__", "lib-dynload"}:
        return True
    if path.is_dir():
        return name.isidentifier() and name not in NOT_STANDARD
    return name.endswith(STANDARD_SUFFIXES) and not name.startswith(("sitecustomize", "usercustomize"))


def shared_libraries() -> tuple[Path, ...]:
    """Return folders that the linker searches by itself, and the interpreter's own libraries.

    Where an architecture has no folder of its own, as on some distributions, single files are listed: other installed
    files lie beside them.
    """
    own = sysconfig.get_config_var("MULTIARCH")
    folders = [Path(root, own) for root in ("/lib", "/usr/lib") if own and Path(root, own).is_dir()]
    roots = (
        [Path("/lib64"), Path("/usr/lib64")] if folders else [*map(Path, ("/lib64", "/usr/lib64", "/lib", "/usr/lib"))]
    )
    prefixes = {Path(prefix) / "lib" for prefix in (sys.base_prefix, sys.base_exec_prefix) if prefix != "/usr"}
    library = sysconfig.get_config_var("LIBDIR")
    prefixes |= {Path(library)} if library and Path(library) != Path("/usr/lib") else set()
    single = {
        path for root in (*roots, *prefixes) if not (root in roots and root.is_symlink()) for path in _objects(root)
    }
    locales = {path for name in ("C.utf8", "C.UTF-8") if (path := Path("/usr/lib/locale", name)).is_dir()}
    return tuple(sorted({*(f for f in folders if not _through_link(f)), *single, *locales}))


def _objects(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if ".so" in path.suffixes and path.is_file())


def _through_link(path: Path) -> bool:
    """Return whether a system link leads there: its target is listed by itself."""
    return any(parent.is_symlink() for parent in path.parents)


def beside_libraries() -> tuple[Path, ...]:
    """Return places beside the interpreter and its libraries that may hold secrets, and that no loader reads.

    Start-up attacks try to read it: files of the environment and of the folders that packages are installed in.
    """
    prefixes = {Path(prefix) for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    found = {path for prefix in prefixes for name in BESIDE for path in (prefix / name, prefix.parent / name)}
    installed = {Path(path) for path in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))}
    for folder in installed:
        found |= {*folder.glob("*.pth"), *folder.glob("*.dist-info/direct_url.json"), *folder.glob("[.]*")}
        found |= {
            path for path in folder.glob("*.*") if path.is_file() and path.suffix in {".cfg", ".conf", ".ini", ".txt"}
        }
    return tuple(sorted(path for path in found if os.path.lexists(path)))
