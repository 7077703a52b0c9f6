"""Which paths a file of an artifact may have, and when two paths claim to be one file.

A path is refused when any file system or archive tool could read it as another one: absolute, `..`, backslash, drive
letters, control characters, names that differ only by case or by Unicode composition (APFS and NTFS fold both).
"""

import unicodedata
from collections.abc import Iterable

from peft_assay.core.artifact import CONFIG_FILE
from peft_assay.intake.interface import Limits, refuse

IGNORED_NAMES = frozenset({".git", "__pycache__", ".DS_Store", "__MACOSX", "Thumbs.db", "desktop.ini"})
"""Left by tools at any depth, never part of an adapter: not read, not hashed, not handed on."""
IGNORED_BEGINNING = "._"
"""Of files that macOS writes beside each file on other file systems and in archives, at any depth."""
IGNORED_AT_ROOT = (".cache/huggingface",)
"""Download bookkeeping that `hf download --local-dir` leaves beside the files."""

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_SHOWN = 8
_RENAME = "rename or remove the file, then try again"


def is_ignored(path: str) -> bool:
    """Whether `path` lies under a name of the fixed ignore list."""
    if any(path == prefix or path.startswith(prefix + "/") for prefix in IGNORED_AT_ROOT):
        return True
    return any(part in IGNORED_NAMES or part.startswith(IGNORED_BEGINNING) for part in path.split("/"))


def check_path(path: str, limits: Limits) -> str:
    """`path` unchanged; raises IntakeError unless it is a plain relative POSIX path within the limits."""
    problem = _problem(path, limits)
    if problem is not None:
        raise refuse(f"the path is not safe: {problem}", where=path or "(a member without a name)", next_step=_RENAME)
    return path


def _problem(path: str, limits: Limits) -> str | None:
    components = path.split("/")
    if len(path) > limits.path_characters:
        return f"longer than {limits.path_characters} characters"
    if len(components) > limits.depth:
        return f"more than {limits.depth} folders deep"
    if path.startswith("/") or (len(path) > 1 and path[1] == ":"):
        return "absolute"
    if any(component in {"", ".", ".."} for component in components):
        return "has an empty, '.' or '..' component"
    if "\\" in path:
        return "has a backslash"
    if any(component != component.strip() or component.endswith(".") for component in components):
        return "a name begins or ends with a space, or ends with a dot"
    if ":$" in path:
        return "names a stream of a file, as Windows spells them"
    if any(unicodedata.category(character) in _HIDDEN for character in path):
        return "has a control, invisible or undecodable character"
    return None


def without_top(paths: Iterable[str]) -> dict[str, str]:
    """Return each path by itself, or without the top folders that all of them share."""
    known = list(paths)
    shared = min((path.count("/") for path in known), default=0)
    while shared and len({tuple(path.split("/")[:shared]) for path in known}) != 1:
        shared -= 1
    return {path: path.split("/", shared)[shared] for path in known}


def below(paths: Iterable[str], folder: str) -> dict[str, str]:
    """Return the paths under `folder`, each without it; `folder` may leave out the top folders that all paths share."""
    shorter = without_top(paths)
    for known in ({path: path for path in shorter}, shorter):
        found = {old: new[len(folder) + 1 :] for old, new in known.items() if new.startswith(folder + "/")}
        if found:
            return found
    return {}


def folded(path: str) -> str:
    """What a file system that folds case and composition takes `path` for."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def check_unambiguous(paths: Iterable[str], *, named: str = "") -> None:
    """Raises IntakeError when two of `paths` claim to be one file, or several claim to be the configuration.

    `named` and the path of a folder are what a person writes to mean that folder alone.
    """
    seen: dict[str, str] = {}
    configs: list[str] = []
    for path in paths:
        other = seen.setdefault(folded(path), path)
        if other is not path:
            raise refuse(
                f"two files claim to be this one: {other!r} and {path!r}", where=path, next_step="keep one of the two"
            )
        if folded(path).rsplit("/", 1)[-1] == CONFIG_FILE:
            configs.append(path)
    _check_prefixes(seen)
    _check_folders(seen.values())
    _check_configs(configs, named)


def _check_prefixes(seen: dict[str, str]) -> None:
    for key, path in seen.items():
        parts = key.split("/")
        for end in range(1, len(parts)):
            parent = "/".join(parts[:end])
            if parent in seen:
                raise refuse(
                    f"{seen[parent]!r} is a file and a folder at once", where=path, next_step="keep one of the two"
                )


def _check_folders(paths: Iterable[str]) -> None:
    """Check that each folder has one spelling: where names are folded, two spellings become one folder with the files
    of both.
    """
    spelt: dict[str, str] = {}
    for path in paths:
        parts = path.split("/")
        for end in range(1, len(parts)):
            folder = "/".join(parts[:end])
            other = spelt.setdefault(folded(folder), folder)
            if other != folder:
                raise refuse(
                    f"two folders claim to be this one: {other!r} and {folder!r}",
                    where=path,
                    next_step="name one of them otherwise",
                )


def _check_configs(configs: list[str], named: str) -> None:
    """One configuration nearest to the top decides; two at the same depth are two adapters or a disguise."""
    if not configs:
        return
    top = min(path.count("/") for path in configs)
    nearest = sorted(path for path in configs if path.count("/") == top)
    if len(nearest) > 1:
        folders = [path.rpartition("/")[0] for path in nearest]
        raise refuse(
            f"ambiguous: {len(nearest)} files claim to be the configuration ({_listed(nearest)})",
            where=nearest[1],
            next_step=f"name the folder of one adapter: {named}{folders[-1]}" if all(folders) else "keep one of them",
        )


def _listed(paths: list[str]) -> str:
    """Return the first of `paths`, and how many more there are."""
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(map(repr, paths[:_SHOWN])) + more
