"""Hostile text made visible: the only way from an artifact, a suite or a model to somebody's screen.

Control characters can rewrite a terminal, bidirectional overrides can reorder what a reviewer reads (CVE-2021-42574,
"Trojan Source"), markup can run in a report. Each surface has one method, and renderers have one sink that calls it.
"""

import html
import re
import unicodedata
from dataclasses import dataclass

_ALWAYS_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks that show nothing: Default_Ignorable_Code_Point outside the categories above (Unicode,
DerivedCoreProperties.txt), and the blank Braille pattern. Variation selectors can carry whole hidden messages."""
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&])")


def visible(text: str, *, limit: int | None = None) -> str:
    """`text` on one line, every invisible or reordering character as its code point, cut at `limit` characters."""
    shown = "".join(_escape(character) for character in text)
    if limit is not None and len(shown) > limit:
        return shown[: max(limit - 1, 0)] + "…"
    return shown


def _escape(character: str) -> str:
    hidden = unicodedata.category(character) in _ALWAYS_HIDDEN or _INVISIBLE.match(character)
    if character == " " or not hidden:
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


@dataclass(frozen=True, slots=True)
class Text:
    """Untrusted text, and its rendering for each surface. `str()` gives the terminal form, never the raw one."""

    raw: str

    def terminal(self, limit: int | None = None) -> str:
        """One line without control characters; the caller must still print it without markup interpretation."""
        return visible(self.raw, limit=limit)

    def html(self, limit: int | None = None) -> str:
        """Safe as HTML text and inside double-quoted attributes."""
        return html.escape(visible(self.raw, limit=limit), quote=True)

    def markdown(self, limit: int | None = None) -> str:
        """Safe inside a Markdown paragraph or table cell."""
        return _MARKDOWN.sub(r"\\\1", visible(self.raw, limit=limit))

    def __str__(self) -> str:
        return self.terminal()
