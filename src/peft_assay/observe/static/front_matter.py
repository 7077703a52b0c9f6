"""The metadata of a model card: YAML between two lines of ``---``, read strictly, each defect by its name.

Readers of broken cards differ (first key or last, an empty mapping or an error), so that a card with two meanings has
none here. What cannot be read is a gap with a code, which `card.gaps` tells and `rights.*` counts as unknown.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from peft_assay.core.artifact import CARD_FILE
from peft_assay.core.content import Content
from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_yaml
from peft_assay.observe.interface import Unreadable

MAX_CARD_BYTES = 4 << 20
MAX_FRONT_MATTER_BYTES = 256 << 10
_FENCE = b"---"


class CardUnreadable(Unreadable):
    """Metadata that is absent or has no single reading; `code` is stable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def front_matter(files: Mapping[str, Content]) -> dict[str, Any]:
    """Metadata of the model card among `files`; raises CardUnreadable when there is none or it is not one mapping."""
    content = files.get(CARD_FILE)
    if content is None:
        raise CardUnreadable("no-card", f"there is no model card ({CARD_FILE})")
    if content.body is None or content.size > MAX_CARD_BYTES:
        raise CardUnreadable("card-too-large", f"the model card has more than {MAX_CARD_BYTES} bytes")
    return metadata_of(content.body)


def metadata_of(card: bytes) -> dict[str, Any]:
    """The metadata that the bytes of one card begin with; raises CardUnreadable."""
    found = _reading(card)
    if isinstance(found, CardUnreadable):
        raise CardUnreadable(found.code, str(found))
    return dict(found)


@lru_cache(maxsize=4)
def _reading(card: bytes) -> dict[str, Any] | CardUnreadable:
    """Kept, because many probes ask for it and YAML of 256 kB takes seconds."""
    try:
        return _read(card)
    except CardUnreadable as problem:
        return problem


def _read(card: bytes) -> dict[str, Any]:
    lines = _lines(card)
    if lines[0].rstrip() != _FENCE:
        raise CardUnreadable("no-metadata", "the model card has no metadata (it does not begin with ---)")
    end = _end(lines, 1)
    if end is None:
        raise CardUnreadable("metadata-unended", "the model card's metadata does not end (no second ---)")
    if _second(lines, end) is not None:
        raise CardUnreadable("several-metadata", "the model card has a second block of metadata after the first")
    try:
        document = parse_yaml(b"\n".join(lines[1:end]), where=CARD_FILE, max_bytes=MAX_FRONT_MATTER_BYTES)
    except DocumentError as error:
        code = "duplicate-key" if "appears twice" in error.message else "broken-yaml"
        raise CardUnreadable(code, str(error)) from None
    if document is None:
        raise CardUnreadable("no-metadata", "the model card's metadata is empty")
    if not isinstance(document, dict):
        raise CardUnreadable("metadata-not-a-mapping", "the model card's metadata is not a mapping")
    return document


def _lines(card: bytes) -> list[bytes]:
    return card.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\n")


def _end(lines: list[bytes], begin: int) -> int | None:
    return next((at for at in range(begin, len(lines)) if lines[at].rstrip() == _FENCE), None)


def _second(lines: list[bytes], end: int) -> int | None:
    """Where another block begins right behind the first: only blank lines between, and a key on its first line.

    Further down ``---`` is a rule of Markdown, which most cards have.
    """
    begin = next((at for at in range(end + 1, len(lines)) if lines[at].strip()), None)
    if begin is None or lines[begin].rstrip() != _FENCE or begin + 1 >= len(lines):
        return None
    key, colon, _ = lines[begin + 1].partition(b":")
    is_key = bool(colon) and key.strip().replace(b"_", b"").replace(b"-", b"").isalnum()
    return begin if is_key and _end(lines, begin + 1) is not None else None
