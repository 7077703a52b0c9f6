"""A peft-assay.yaml to begin with, out of an inventory: every usable adapter under an alias. It overwrites nothing."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from peft_assay.core.display import visible
from peft_assay.core.errors import StorageError, UsageError
from peft_assay.pipeline.documents import FILE_NAME
from peft_assay.pipeline.starter import TEMPLATES
from peft_assay.report.interface import Discovered, Inventory

_SECTION = re.compile(r"(?m)^adapters: \{\}.*\n?")
_BASE = re.compile(r"(?m)^(    path: \./base .*\n)")
MAX_LEFT_OUT = 50
"""Unusable adapters that the proposal names."""


def propose(inventory: Inventory, folder: Path) -> str:
    """The document's text, for a file in `folder`: the template of `init` with the adapters that were found."""
    template = (TEMPLATES / FILE_NAME).read_text("utf-8")
    text = _BASE.sub(lambda match: match[1] + "".join(_guesses(inventory)), template, count=1)
    return _SECTION.sub(lambda _: "".join(_adapters(inventory, folder)), text, count=1)


def write_proposal(text: str, path: Path) -> None:
    """Writes it where nothing is yet. Raises UsageError when there is, StorageError when it cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise UsageError(
            "exists already, and is never overwritten", where=str(path), next_step="name another file, or - to see it"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise StorageError(f"cannot be written: {reason}", where=str(path)) from None


def _guesses(inventory: Inventory) -> Iterator[str]:
    """Comments: which bases the adapters name. They are the publishers' words; what you serve is for you to say."""
    bases = Counter(entry.base for entry in inventory.found if entry.usable and entry.base)
    for base, count in bases.most_common(3):
        yield f"    # {count} of the adapters below name the base {_comment(base)}\n"


def _adapters(inventory: Inventory, folder: Path) -> Iterator[str]:
    taken: set[str] = set()
    usable = [entry for entry in inventory.found if _fits(entry)]
    left_out = [entry for entry in inventory.found if not _fits(entry)]
    yield "adapters:\n" if usable else "adapters: {}\n"
    for entry in usable:
        alias = _alias(entry, taken)
        said = [entry.peft_type or "", f"base {entry.base}" if entry.base else "names no base", *entry.remarks]
        yield f"  # {_comment('; '.join(filter(None, said)))}\n"
        yield f"  {_quoted(alias)}:\n    source: {_quoted(_source(entry.path, folder))}\n"
    for entry in left_out[:MAX_LEFT_OUT]:
        yield f"  # left out: {_comment(entry.path)}: {_comment('; '.join([entry.kind, *entry.remarks]))}\n"
    if len(left_out) > MAX_LEFT_OUT:
        yield f"  # left out: {len(left_out) - MAX_LEFT_OUT} more\n"


def _fits(entry: Discovered) -> bool:
    """Whether it is usable, and a document in UTF-8 can name it."""
    try:
        entry.path.encode()
    except UnicodeEncodeError:
        return False
    return entry.usable


def _quoted(text: str) -> str:
    """`text` as a YAML scalar in double quotes, in ASCII: JSON's escapes say an emoji in two halves, YAML's in one."""
    shown = (c if " " <= c <= "~" and c not in '"\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(shown)}"'


def _comment(text: str) -> str:
    return visible(text, limit=300)


def _alias(entry: Discovered, taken: set[str]) -> str:
    """A name of its own: of the repository in a cache, else of the folder."""
    path = Path(entry.path).absolute()
    name = path.parent.name + "-" + path.name if re.fullmatch(r"checkpoint-\d+", path.name) else path.name
    wanted = (entry.repository or name).rsplit("/", 1)[-1]
    plain = re.sub(r"[^a-z0-9._-]+", "-", wanted.lower()).strip("._-")[:50] or "adapter"
    alias, number = plain, 2
    while alias in taken:
        alias, number = f"{plain}-{number}", number + 1
    taken.add(alias)
    return alias


def _source(path: str, folder: Path) -> str:
    if "://" in path:
        return path
    whole, around = Path(path).absolute(), folder.absolute()
    return "./" + whole.relative_to(around).as_posix() if whole.is_relative_to(around) else str(whole)
