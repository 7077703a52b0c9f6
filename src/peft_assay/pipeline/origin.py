"""Where an adapter came from, spelt one way, and which declaration of the consumer's covers it.

A local path counts by where it really lies, so that a link into a declared folder is not in it. A pattern's segments
are matched one by one: ``*`` is any part of one segment, ``**`` any number of whole ones.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from peft_assay.core.rights import Declaration
from peft_assay.intake.reference import HubReference, ObjectReference, parse_reference
from peft_assay.pipeline.documents import DeclarationSection

_COMMIT = re.compile(r"[0-9a-f]{40}")
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._]|-(?!-))*"
_FETCHED = re.compile(rf"(?P<org>{_PART})--(?P<name>{_PART})(?:--.+)?@(?P<commit>[0-9a-f]{{40}})")
_CACHED = re.compile(rf"models--(?P<org>{_PART})--(?P<name>{_PART})")


def origin_of(named: str, *, within: Path, folder: Path) -> str:
    """The origin that `named` means; a path relative to `within` counts relative to the project's `folder` if in it.

    Raises UsageError for malformed remote names.
    """
    reference = parse_reference(named)
    match reference:
        case HubReference():
            return f"hf://{reference.repo}@{reference.revision}" + (
                f":{reference.subfolder}" if reference.subfolder else ""
            )
        case ObjectReference():
            return f"{reference.scheme}://{reference.bucket}/{reference.prefix}"
    real, top = (within / reference).resolve(), folder.resolve()
    return (real.relative_to(top) if real.is_relative_to(top) else real).as_posix()


def declaration_for(declarations: Sequence[DeclarationSection], origin: str | None) -> Declaration | None:
    """The first of `declarations` whose pattern matches `origin`."""
    for section in declarations:
        if origin is not None and matches(section.match, origin):
            return Declaration(section.match, section.owner, section.licence, tuple(section.datasets))
    return None


def matches(pattern: str, origin: str) -> bool:
    """Whether `pattern` covers the whole of `origin`; upper and lower case differ."""
    wanted, found = pattern.removeprefix("./").split("/"), origin.split("/")
    # Positions in `wanted` that some way of matching has reached: linear in both, whatever the pattern.
    reached = _with_skips(wanted, {0})
    for segment in found:
        ahead = {at for at in reached if at < len(wanted) and wanted[at] == "**"}
        ahead |= {at + 1 for at in reached if at < len(wanted) and wanted[at] != "**" and _segment(wanted[at], segment)}
        reached = _with_skips(wanted, ahead)
    return len(wanted) in reached


def _with_skips(wanted: Sequence[str], reached: set[int]) -> set[int]:
    """`reached` and what follows where ``**`` stands for nothing."""
    found = set(reached)
    for at in range(len(wanted)):
        if at in found and wanted[at] == "**":
            found.add(at + 1)
    return found


def _segment(pattern: str, text: str) -> bool:
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == text
    if not text.startswith(first) or len(text) < len(first) + len(rest[-1]):
        return False
    at, end = len(first), len(text) - len(rest[-1])
    for part in rest[:-1]:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return text.endswith(rest[-1])


def repository_at(path: Path) -> tuple[str, str] | None:
    """The Hub's repository and commit whose files lie at `path`; None for any other place.

    Known are the two places that name both: where we fetch to, and snapshots of a Hugging Face cache.
    """
    for folder in (path.absolute(), *path.absolute().parents):
        match = _FETCHED.fullmatch(folder.name)
        if match is not None and folder.parent.parts[-3:] == ("peft-assay", "remote", "hub"):
            return f"{match['org']}/{match['name']}", match["commit"]
        cached = _CACHED.fullmatch(folder.parent.parent.name)
        if cached is not None and folder.parent.name == "snapshots" and _COMMIT.fullmatch(folder.name):
            return f"{cached['org']}/{cached['name']}", folder.name
    return None


def repository_of(source: str) -> tuple[str, str] | None:
    """The Hub's repository and commit that `source` names, by a pinned reference or by where its files lie."""
    if "://" not in source:
        return repository_at(Path(source))
    reference = parse_reference(source)
    if isinstance(reference, HubReference) and _COMMIT.fullmatch(reference.revision):
        return reference.repo, reference.revision
    return None
