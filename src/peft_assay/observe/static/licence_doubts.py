"""What else in an artifact speaks of its licence, and does not say what the card's `license` says.

One card can say apache-2.0 in its metadata and cc-by-nc in a second block, in its prose, in a LICENSE of another
encoding or folder, or by an address. Whatever is not the declared licence makes it unknown; nothing here decides what
the licence is. Notices are left alone: they quote the licences of others.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from peft_assay.core.artifact import CARD_FILE
from peft_assay.core.content import Content
from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json, parse_yaml
from peft_assay.core.rights import Licence
from peft_assay.observe.static.front_matter import MAX_CARD_BYTES
from peft_assay.observe.static.licence_text import MAX_TEXT_BYTES, candidates
from peft_assay.observe.static.licences import find_licence
from peft_assay.observe.static.tables import text_table

MAX_DOUBTS = 8
_FILE = re.compile(r"(?i)(.*/)?((un)?licen[cs]e|copying|eula|terms)([._ -][a-z0-9._ -]{1,40})?")
_KEY = re.compile(r"(?i)licen[cs]es?|lisence|licensing|licen[cs]e_(name|id|link|url)")
_LINE = re.compile(r"(?im)^[ \t>#*_`|-]*(?:model |adapter )?licen[cs]es?[ \t*_`|]*[:=|][ \t*_`|]*(\S[^\n]{0,200})")
_HEADING = re.compile(r"(?im)^#+[ \t*_]*(?:model |adapter )?licen[cs](?:es?|ing)[ \t*_:]*\n\s*(\S[^\n]{0,300})")
_SPDX = re.compile(r"(?i)SPDX-License-Identifier:\s*([A-Za-z0-9.+-]{1,80})")
_CREATIVE = re.compile(r"(?i)creativecommons\.org/(?:licenses|publicdomain)/([a-z-]{1,20})/([0-9.]{1,4})")
_SHORT = re.compile(r"(?i)\bcc[ -]by((?:[ -](?:nc|nd|sa))*)(?:[ -]v?([0-9]\.[0-9]))?\b")
_ADDRESSES = (
    (re.compile(r"(?i)apache\.org/licenses/LICENSE-2\.0"), "apache-2.0"),
    (re.compile(r"(?i)(?:opensource\.org|spdx\.org)/licenses?/MIT\b"), "mit"),
    (re.compile(r"(?i)gnu\.org/licenses/(?:old-licenses/)?(a?l?gpl-[23]\.[01])"), ""),
)
_LIMITED = re.compile(r"(?i)non-?\s?commercial|research[ -](?:use |purposes )?only|academic use only")
_SUFFIXES = (".json", ".yaml", ".yml")
_MAX_DOCUMENT = 1 << 20


def doubts(files: Mapping[str, Content], card: Mapping[str, Any], declared: Licence) -> tuple[tuple[str, str], ...]:
    """Place and words of what speaks of another licence than `declared`, the one of the card's metadata."""
    found: list[tuple[str, str]] = []
    for where, said in _statements(files, card):
        if (where, said) not in found and not _agrees(said, declared):
            found.append((where, said))
        if len(found) >= MAX_DOUBTS:
            break
    found += [doubt for path, file in files.items() if (doubt := _text_doubt(path, file, declared)) is not None]
    return tuple(found[:MAX_DOUBTS])


def _statements(files: Mapping[str, Content], card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _keys(CARD_FILE, {key: value for key, value in card.items() if key != "license"})
    for path, file in files.items():
        if file.body is None or file.size > MAX_CARD_BYTES:
            continue
        if path == CARD_FILE:
            yield from ((f"{path}: its text", said) for said in _prose(file.body))
        elif path.endswith(_SUFFIXES) and file.size <= _MAX_DOCUMENT and b"icen" in file.body.lower():
            yield from _keys(path, _document(path, file.body))
        if b"SPDX-License-Identifier" in file.body:
            text = file.body.decode("utf-8", "replace")
            yield from ((f"{path}: SPDX-License-Identifier", said) for said in _SPDX.findall(text)[:MAX_DOUBTS])


def _keys(where: str, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in document.items():
        if _KEY.fullmatch(str(key)):
            values = value if isinstance(value, list) else [value]
            yield from ((f"{where}: {str(key)[:40]}", str(one)) for one in values[:MAX_DOUBTS] if one not in (None, ""))


def _document(path: str, body: bytes) -> Mapping[str, Any]:
    read = parse_json if path.endswith(".json") else parse_yaml
    try:
        document = read(body, where=path, max_bytes=_MAX_DOCUMENT)
    except DocumentError:
        return {}
    return document if isinstance(document, dict) else {}


def _prose(card: bytes) -> Iterator[str]:
    """What lines and headings of a card behind its metadata say that its licence is; later blocks of YAML are lines."""
    text = decoded(card).replace("\r\n", "\n")
    parts = re.split(r"(?m)^---[ \t]*$", text, maxsplit=2)
    body = parts[2] if len(parts) == 3 and not parts[0].strip() else text
    yield from _LINE.findall(body)[:MAX_DOUBTS]
    yield from _HEADING.findall(body)[:MAX_DOUBTS]


def _agrees(said: str, declared: Licence) -> bool:
    """Whether words are the declared licence, or say nothing of any: prose that names none, and no limit of use."""
    exact = find_licence(said.strip(" \t\"'`*_.|"))
    named = {exact.id} if exact is not None else set(mentioned(said))
    if named:
        return named <= {declared.id}
    return _LIMITED.search(said) is None or declared.grants["commercial"].value == "no"


def mentioned(text: str) -> Iterator[str]:
    """Ids of the licences that `text` names by address or by the usual short form."""
    for kind, version in _CREATIVE.findall(text):
        yield "cc0-1.0" if kind.lower() in {"zero", "mark"} else f"cc-{kind.lower()}-{version}"
    for limits, version in _SHORT.findall(text):
        yield f"cc-by{limits.lower().replace(' ', '-')}-{version or '4.0'}"
    for pattern, licence in _ADDRESSES:
        yield from ((licence or found.lower()) for found in pattern.findall(text)[:MAX_DOUBTS])


def decoded(content: bytes) -> str:
    """Text of any of the encodings that editors write, for words to be looked for."""
    for mark, encoding in ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"),
                           (b"\xfe\xff", "utf-16")):  # fmt: skip
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    if content[:200].count(0) > len(content[:200]) // 4:
        return content.decode("utf-16-be" if content[:1] == b"\0" else "utf-16-le", "replace")
    return content.decode("utf-8", "replace")


def _text_doubt(path: str, file: Content, declared: Licence) -> tuple[str, str] | None:
    """Why a licence-like file is not positively the text of `declared`; None where it is, or where that cannot be told.

    It cannot be told where the table has no text of the declared licence, and the file names no other one.
    """
    if not _FILE.fullmatch(path) or file.size == 0:
        return None
    if file.body is None or file.size > MAX_TEXT_BYTES:
        return path, "too long to be recognised as a licence's text"
    text = decoded(file.body)
    found = candidates(text.encode())
    ids = {candidate.licence for candidate in found} | (set(mentioned(text)) if not found else set())
    extra = [candidate for candidate in found if candidate.how == "more"]
    if ids == {declared.id} and not extra:
        return None
    if ids - {declared.id} or extra:
        return path, "reads as " + ", ".join(sorted(ids)) + (" and more words beside it" if extra else "")
    if declared.id in text_table().texts or _LIMITED.search(text):
        return path, f"is not recognised as the text of {declared.id}"
    return None
