"""Find places in an artifact that name another licence than the card's `license`.

One card can say apache-2.0 in its metadata and cc-by-nc in a second block, in its prose, in a LICENSE of another
encoding or folder, or by an address. Every mention of another licence makes the licence unknown; this module does not
decide which one holds. Notices are left alone: they quote the licences of others.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from peft_assay.core.artifact import CARD_FILE
from peft_assay.core.content import Content
from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json, parse_yaml
from peft_assay.core.rights import Licence
from peft_assay.observe.static.front_matter import MAX_CARD_BYTES
from peft_assay.observe.static.licence_text import MAX_TEXT_BYTES, candidates
from peft_assay.observe.static.licences import members_of, stated_licence
from peft_assay.observe.static.tables import text_table

MAX_DOUBTS = 8
MAX_DEPTH = 6
"""The depth of mappings and lists in which a licence is searched."""
_NOT_ITS_OWN = re.compile(r"(?i)base|data|source|code|depend|librar|package|component|tool")
"""Keys of parts whose licence is not the adapter's."""
_FILE = re.compile(
    r"(?i)(.*/)?(([a-z0-9]{1,20}[ ._-]){0,4}((un)?licen[cs]es?|licencia|lizenz)|copying|eula|terms)"
    r"([._ (-][a-z0-9._ ()-]{1,40})?|(.*/)?licen[cs]es/[^/]{1,80}"
)
_CARDS = re.compile(r"(?i)(.*/)?(readme|model[ _-]?card)([._-][a-z0-9._-]{1,20})?")
_KEY = re.compile(r"(?i)licen[cs]es?|lisence|licensing|licen[cs]e_(name|id|link|url)")
_LINE = re.compile(r"(?im)^[ \t>#*_`|-]*(?:model |adapter )?licen[cs]es?[ \t*_`|]*[:=|][ \t*_`|]*(\S[^\n]{0,200})")
_HEADING = re.compile(r"(?im)^#+[ \t*_]*(?:model |adapter )?licen[cs](?:es?|ing)[ \t*_:]*\n\s*(\S[^\n]{0,300})")
_SAID = re.compile(
    r"(?im)(?:^[ \t>#*_-]*|\b(?:this|these|our|the) (?:[\w-]{1,20} ){0,2}"
    r"(?:model|adapter|weights|lora|checkpoint|repository)s?\b[^.\n]{0,60}\b)"
    r"(?:licen[cs]ed|released|distributed|available|provided|published|shared)\b[^.\n]{0,40}?\bunder\b([^\n]{1,200})"
)
_ONLY = re.compile(
    r"(?im)^(?:for |[^\n]{0,100}\bfor )?(non-?\s?commercial (?:use|purposes?) only)\b"
    r"|^[ \t>#*_-]*for (non-?\s?commercial (?:use|purposes?))"
)
_BADGE = re.compile(r"(?im)^([^\n]{0,20}licen[cs]e[^\n]{0,300}creativecommons\.org[^\n]{0,60})")
_OTHERS = re.compile(r"(?i)\b(base|data|datasets?|corpus|code|upstream|original|trained)\b")
"""A sentence that may be about the licence of another work."""
_CLAUSES = re.compile(r"(?i)non-?\s?commercial (use|purposes?)|commons clause|right to sell")
_ID = r"[A-Za-z0-9][A-Za-z0-9.+-]{0,79}"
_SPDX = re.compile(rf"(?i)SPDX-License-Identifier:[ \t(]*({_ID}(?:[ \t)]+(?:AND|OR|WITH)[ \t(]+{_ID}){{0,8}})")
_CREATIVE = re.compile(r"(?i)creativecommons\.org/(?:licenses|publicdomain)/([a-z-]{1,20})/([0-9.]{1,4})")
_SHORT = re.compile(r"(?i)\bcc[ -]by((?:[ -](?:nc|nd|sa))*)(?:[ -]v?([0-9]\.[0-9]))?\b")
_ADDRESSES = (
    (re.compile(r"(?i)apache\.org/licenses/LICENSE-2\.0"), "apache-2.0"),
    (re.compile(r"(?i)(?:opensource\.org|spdx\.org)/licenses?/MIT\b"), "mit"),
    (re.compile(r"(?i)gnu\.org/licenses/(?:old-licenses/)?(a?l?gpl-[23]\.[01])"), ""),
)
_CHOICE = re.compile(r"(?i)\sor\s")
_LIMITED = re.compile(r"(?i)non-?\s?commercial|research[ -](?:use |purposes )?only|academic use only")
_SUFFIXES = (".json", ".yaml", ".yml", ".cff")
_MAX_DOCUMENT = 1 << 20


def doubts(files: Mapping[str, Content], card: Mapping[str, Any], declared: Licence) -> tuple[tuple[str, str], ...]:
    """Return place and words of each mention of another licence than `declared`, the one of the card's metadata."""
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
        if _CARDS.fullmatch(path):
            yield from ((f"{path}: its text", said) for said in _prose(file.body, inner=path != CARD_FILE))
        elif path.endswith(_SUFFIXES) and file.size <= _MAX_DOCUMENT and b"icen" in file.body.lower():
            yield from _keys(path, _document(path, file.body))
        if b"spdx-" in file.body.lower() or b"s\0p\0d\0x\0-" in file.body.lower():
            found = _SPDX.findall(decoded(file.body))[:MAX_DOUBTS]
            yield from ((f"{path}: SPDX-License-Identifier", said) for one in found for said in _alternatives(one))


def _alternatives(expression: str) -> list[str]:
    """Return the ids of an SPDX expression, all of which hold; where one may be chosen (OR), the expression
    by itself.
    """
    parts = re.split(r"(?i)[ \t)]+(?:AND|WITH)[ \t(]+", expression)
    return [parts[0]] if len(parts) == 1 else [part for one in parts for part in re.split(r"(?i)[ \t)]+OR[ \t(]+", one)]


def _keys(where: str, document: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    if isinstance(document, list):
        for item in document[:100]:
            yield from _keys(where, item, depth + 1)
    if not isinstance(document, dict) or depth > MAX_DEPTH:
        return
    for key, value in document.items():
        if isinstance(value, dict | list) and not _KEY.fullmatch(str(key)) and not _NOT_ITS_OWN.search(str(key)):
            yield from _keys(where, value, depth + 1)
        if _KEY.fullmatch(str(key)):
            values = value if isinstance(value, list) else [value]
            yield from ((f"{where}: {str(key)[:40]}", str(one)) for one in values[:MAX_DOUBTS] if one not in (None, ""))


def _document(path: str, body: bytes) -> Any:
    read = parse_json if path.endswith(".json") else parse_yaml
    try:
        return read(body, where=path, max_bytes=_MAX_DOCUMENT)
    except DocumentError:
        return {}


def _prose(card: bytes, *, inner: bool) -> Iterator[str]:
    """Yield the licence statements in lines, headings and sentences of a card; blocks of YAML are read as lines.

    The metadata of the artifact's own card is read elsewhere; with `inner` (another card) it is text like the rest.
    """
    text = decoded(card).replace("\r\n", "\n")
    parts = re.split(r"(?m)^---[ \t]*$", text, maxsplit=2)
    body = parts[2] if len(parts) == 3 and not parts[0].strip() and not inner else text
    yield from _LINE.findall(body)[:MAX_DOUBTS]
    yield from _HEADING.findall(body)[:MAX_DOUBTS]
    for form in (_SAID, _ONLY, _BADGE):
        sentences = (found for found in form.finditer(body) if not _OTHERS.search(found[0]))
        yield from (next(filter(None, found.groups())) for found in islice(sentences, MAX_DOUBTS))


def _agrees(said: str, declared: Licence) -> bool:
    """Whether words are the declared licence, or say nothing of any: prose that names none, and no limit of use."""
    exact = stated_licence([said.strip(" \t\"'`*_.|")])
    named = members_of(exact) if exact is not None else set(mentioned(said))
    if named:
        own = members_of(declared)
        return named <= own or (_CHOICE.search(said) is not None and bool(named & own))
    return _LIMITED.search(said) is None or declared.grants["commercial"].value == "no"


def mentioned(text: str) -> Iterator[str]:
    """Return ids of the licences that `text` names by address or by the usual short form."""
    for kind, version in _CREATIVE.findall(text):
        yield "cc0-1.0" if kind.lower() in {"zero", "mark"} else f"cc-{kind.lower()}-{version}"
    for limits, version in _SHORT.findall(text):
        yield f"cc-by{limits.lower().replace(' ', '-')}-{version or '4.0'}"
    for pattern, licence in _ADDRESSES:
        yield from ((licence or found.lower()) for found in pattern.findall(text)[:MAX_DOUBTS])


def decoded(content: bytes) -> str:
    """Return the text in each encoding that editors write, for a search of words."""
    for mark, encoding in ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"),
                           (b"\xfe\xff", "utf-16")):  # fmt: skip
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    if content[:200].count(0) > len(content[:200]) // 4:
        return content.decode("utf-16-be" if content[:1] == b"\0" else "utf-16-le", "replace")
    return content.decode("utf-8", "replace")


def _text_doubt(path: str, file: Content, declared: Licence) -> tuple[str, str] | None:
    """Return why a licence-like file is not the text of `declared`; None where it is, or where that cannot be decided.

    It cannot be decided where the table has no text of the declared licence, and the file names no other one.
    """
    if not _FILE.fullmatch(path) or file.size == 0:
        return None
    if file.body is None or file.size > MAX_TEXT_BYTES:
        return path, "too long to be recognised as a licence's text"
    text = decoded(file.body)
    found = candidates(text.encode())
    ids = {candidate.licence for candidate in found} | (set(mentioned(text)) if not found else set())
    extra = [candidate for candidate in found if candidate.how == "more"]
    own = members_of(declared)
    if ids and ids <= own and not extra:
        limit = None if declared.grants["commercial"].value == "no" else _CLAUSES.search(text)
        return (path, f"adds to {declared.id}: {limit[0]}") if limit else None
    if ids - own or extra:
        return path, "reads as " + ", ".join(sorted(ids)) + (" and more words beside it" if extra else "")
    if own & text_table().texts.keys() or _LIMITED.search(text):
        return path, f"is not recognised as the text of {declared.id}"
    return None
