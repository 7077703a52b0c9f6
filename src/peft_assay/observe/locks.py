"""What the serving environment holds, as its lock file says: PEP 751 (``pylock.toml``) or pins in requirements form.

The lock is the consumer's own document. One that leaves anything open is refused: a lock that does not say which
version is installed says nothing.
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.pylock import Pylock, PylockSelectError, PylockValidationError, is_valid_pylock_path
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from peft_assay.core.errors import DocumentError

FORMS = "pylock.toml (PEP 751), or a file of name==version lines, such as pip freeze and uv pip compile write"
_UNDECIDED = (UndefinedComparison, UndefinedEnvironmentName)
_CHANGES_WHAT_IS_INSTALLED = ("-r", "-c", "-e", "--requirement", "--constraint", "--editable")


def read_lock(content: bytes, *, where: str) -> Mapping[str, str]:
    """Version by normalised name of every distribution that the lock `content` at `where` installs here.

    Markers are those of this interpreter and platform. Raises DocumentError, naming the entry, for what is no lock.
    """
    name = where.replace("\\", "/").rsplit("/", 1)[-1]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DocumentError("is not UTF-8", where=where, next_step=f"write it as {FORMS}") from None
    read = _pylock if name.endswith(".toml") else _pins
    locked = dict(read(text, where))
    if not locked:
        raise DocumentError("locks nothing", where=where, next_step=f"write it as {FORMS}")
    return dict(sorted(locked.items()))


def _pylock(text: str, where: str) -> Iterator[tuple[str, str]]:
    if not is_valid_pylock_path(Path(where)):
        raise DocumentError("a lock of PEP 751 is called pylock.toml or pylock.NAME.toml", where=where)
    try:
        for package, _ in Pylock.from_dict(tomllib.loads(text)).select():
            if package.version is None:
                raise DocumentError("has no version", where=f"{where}: packages.{package.name}")
            yield package.name, str(package.version)
    except RecursionError:
        raise DocumentError("is no lock: it is nested too deep", where=where) from None
    except (tomllib.TOMLDecodeError, PylockValidationError, PylockSelectError, ValueError, *_UNDECIDED) as error:
        raise DocumentError(f"is no lock for this interpreter: {error}", where=where) from None


def _pins(text: str, where: str) -> Iterator[tuple[str, str]]:
    found: dict[str, str] = {}
    for number, line in _lines(text):
        at = f"{where}: line {number}"
        if line.startswith("-"):
            if line.split("=", 1)[0].split()[0] in _CHANGES_WHAT_IS_INSTALLED:
                raise DocumentError("names another file or folder: what it installs is not locked here", where=at)
            continue
        try:
            requirement = Requirement(line.split(" --", 1)[0])
        except (InvalidRequirement, RecursionError):
            raise DocumentError("is no requirement", where=at, next_step=f"write it as {FORMS}") from None
        try:
            applies = requirement.marker is None or requirement.marker.evaluate()
        except _UNDECIDED:
            raise DocumentError("has a marker of which nobody can say whether it applies here", where=at) from None
        if not applies:
            continue
        name, version = canonicalize_name(requirement.name), _pinned(requirement)
        if version is None:
            raise DocumentError(f"{name} is not pinned with ==", where=at)
        if found.setdefault(name, version) != version:
            raise DocumentError(f"{name} is pinned to two versions", where=at)
    yield from found.items()


def _pinned(requirement: Requirement) -> str | None:
    exact = [s for s in requirement.specifier if s.operator in {"==", "==="} and not s.version.endswith(".*")]
    return exact[0].version if len(exact) == 1 and len(requirement.specifier) == 1 and not requirement.url else None


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that say something, with the number of their first; a backslash joins a line to the next (pip)."""
    begun, parts = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        begun = begun or number
        parts += line.split(" #", 1)[0] if not line.lstrip().startswith("#") else ""
        if parts.endswith("\\"):
            parts = parts[:-1] + " "
            continue
        if parts.strip():
            yield begun, parts.strip()
        begun, parts = 0, ""
    if parts.strip():
        yield begun, parts.strip()
