"""Which licence a LICENSE file seems to be: a candidate for somebody to confirm, never an answer.

A text is known by the hash of its words between its own first and last ones, so that line ends, indents and copyright
lines make no difference, or else by the phrases of its title. A file may say more than the licence it quotes ("Commons
Clause"), so words outside the quoted text are counted and told.
"""

import hashlib
import re
from dataclasses import dataclass

from peft_assay.observe.static.tables import TextRow, text_table

MAX_TEXT_BYTES = 256 << 10
TITLE_WORDS = 400
"""Where phrases are looked for: a title, not a quotation somewhere in a long notice."""
FEW = 100
"""Words that a heading, a preamble and copyright lines need; the Commons Clause has more."""
APPENDIX = 500
"""Words at most that the Apache and GNU licences say behind their terms on how to apply them."""
_WORD = re.compile(r"[a-z0-9+]+")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A licence that a file seems to be the text of."""

    licence: str
    """Id of the table."""
    how: str
    """text (every word of it), more (with other words beside it) or title."""


def candidates(content: bytes) -> tuple[Candidate, ...]:
    """What `content` may be the text of, sorted by id; empty when nothing is recognised or it is too long."""
    if len(content) > MAX_TEXT_BYTES:
        return ()
    words = _WORD.findall(content.decode("utf-8", "replace").lower())
    text, title = " ".join(words), " ".join(words[:TITLE_WORDS])
    found = [
        Candidate(licence, how)
        for licence, row in sorted(text_table().texts.items())
        if (how := _whole(row, text, len(words)) if row.sha256 else _titled(row, title, text)) is not None
    ]
    return tuple(found)


def _whole(row: TextRow, text: str, count: int) -> str | None:
    begin = text.find(row.begins)
    end = text.find(row.ends, begin) if begin >= 0 else -1
    if end < 0:
        return None
    quoted = text[begin : end + len(row.ends)]
    if hashlib.sha256(quoted.encode()).hexdigest() not in row.sha256:
        return None
    outside = f"{text[:begin]} {text[end + len(row.ends) :]}"
    room = APPENDIX if "how to apply" in outside else FEW
    return "text" if count - len(quoted.split()) <= room else "more"


def _titled(row: TextRow, title: str, text: str) -> str | None:
    present = all(f" {phrase} " in f" {title} " for phrase in row.words)
    return "title" if present and not any(phrase in text for phrase in row.without) else None
