"""Paths that no adapter may read: the document and the files it names, the workspace, the trust anchor with
its keys.
"""

from collections.abc import Iterator
from pathlib import Path

from peft_assay.core.errors import AssayError
from peft_assay.core.parse import parse_yaml
from peft_assay.pipeline.documents import AssayDocument
from peft_assay.pipeline.place import Place
from peft_assay.sandbox.interface import Private
from peft_assay.store.workspace import FOLDER
from peft_assay.trust.anchor import SYSTEM_FOLDER, user_folder


def private_paths(document: AssayDocument, path: Path, place: Place | None = None) -> tuple[Private, ...]:
    """Return paths for the sandbox: it refuses to open where one of them could be read inside, and tries to
    read them.
    """
    return tuple(_private(document, path, place or Place()))


def _private(document: AssayDocument, path: Path, place: Place) -> Iterator[Private]:
    folder = path.parent
    yield Private(path, "the project's document")
    for suite in document.suites:
        named = folder / (suite if isinstance(suite, str) else suite.path)
        yield Private(named, "a suite")
        if (cases := _cases(named)) is not None:
            yield Private(cases, "a suite's cases, with the expected answers")
    if not document.policy.startswith("builtin:"):
        yield Private(folder / document.policy, "the policy")
    if document.scan is not None:
        yield Private(folder / document.scan.tokens, "the file of tokens to scan")
    if document.behaviour.canaries is not None:
        yield Private(folder / document.behaviour.canaries.file, "the file of canaries")
    yield Private((place.workspace or folder) / FOLDER, "the workspace", whole=True)
    for anchor in _anchors(place):
        yield Private(anchor, "the trust anchor, with its keys", whole=True)


def _cases(suite: Path) -> Path | None:
    """Return the file that a suite's header names; None where it names none, or cannot be read, which the suite's
    reader reports.
    """
    try:
        header = parse_yaml(suite.read_bytes(), where=str(suite))
    except (OSError, AssayError):
        return None
    cases = header.get("cases", "cases.jsonl") if isinstance(header, dict) else None
    return suite.parent / cases if isinstance(cases, str) else None


def _anchors(place: Place) -> Iterator[Path]:
    yield SYSTEM_FOLDER
    if place.trust is not None:
        yield place.trust
    try:
        yield user_folder()
    except AssayError:  # a user without a home
        return
