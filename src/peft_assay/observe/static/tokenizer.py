"""The adapter's own tokenizer: tokens that it appends to the base's, and every other difference.

Someone who adds tokens saves their tokenizer beside the adapter. Of it the sandbox uses the appended tokens and nothing
else: a tokenizer that cuts ordinary text otherwise than the base's would make another model of base and adapter. Files
are compared as JSON; no tokenizer of an adapter is ever loaded.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from peft_assay.core.content import Content
from peft_assay.core.errors import DocumentError
from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.core.parse import parse_json
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.beside import vocabulary_of

FILE = "tokenizer.json"
MAX_BYTES = 64 << 20
MAX_ADDED = 4096
MAX_LENGTH = 256
"""Characters of one added token."""
PARTS = ("normalizer", "pre_tokenizer", "model", "post_processor", "decoder")
"""What decides how text becomes tokens and back; padding and truncation are the caller's."""
FLAGS = ("special", "lstrip", "rstrip", "single_word", "normalized")


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the adapter's tokenizer says beside the base's."""

    added: tuple[Mapping[str, Any], ...] = ()
    """Appended tokens, in the order of their ids: content, id and flags."""
    differences: tuple[str, ...] = ()
    """Every other difference; then nothing of it is used."""
    without_rows: int = 0
    """Appended tokens for which neither base nor adapter has a row (a padding token, mostly): nobody can use them."""

    @property
    def document(self) -> bytes:
        """Return the tokens for the sandbox (`core.sandbox.Job.tokens`); empty where there are none to use."""
        usable = self.added and not self.differences
        return json.dumps(list(self.added)).encode() if usable else b""


def tokens_of(subject: StaticSubject) -> Tokens:
    """Compare the adapter's tokenizer with the base's; nothing where one of them has no tokenizer.json."""
    content, base = subject.files.get(FILE), subject.context.base
    whole = None if base is None else base.tokenizer
    if content is None or whole is None:
        return Tokens()
    try:
        own = _document(_body(content, subject), FILE)
        theirs = _document(whole(), f"the base's {FILE}")
    except DocumentError as error:
        return Tokens(differences=(error.message,))
    appended = _added(own, theirs)
    rows = vocabulary_of(subject) or (base.vocabulary if base is not None else None)
    with_rows = tuple(one for one in appended if rows is None or one["id"] < rows)
    return Tokens(with_rows, tuple(_differences(own, theirs, appended)), len(appended) - len(with_rows))


def _body(content: Content, subject: StaticSubject) -> bytes:
    if content.body is not None:
        return content.body
    if subject.context.read is None:
        raise DocumentError(f"{FILE} has {content.size} bytes, and is not at hand as a whole", where=FILE)
    return subject.context.read(FILE)


def _document(content: bytes, where: str) -> dict[str, Any]:
    document = parse_json(content, where=where, max_bytes=MAX_BYTES)
    if not isinstance(document, dict):
        raise DocumentError(f"{where} is not a JSON object", where=where)
    return document


def _listed(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = document.get("added_tokens")
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _added(own: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    first = _size(theirs)
    found = [one for one in _listed(own) if type(one.get("id")) is int and one["id"] >= first]
    return tuple(sorted(found, key=lambda one: one["id"]))


def _size(document: Mapping[str, Any]) -> int:
    """Return one more than the largest id of a tokenizer."""
    ids: list[int] = [one["id"] for one in _listed(document) if type(one.get("id")) is int]
    return max((*_vocabulary(document).values(), *ids, -1)) + 1


def _vocabulary(document: Mapping[str, Any]) -> dict[str, int]:
    """Return text to id of the tokenizer's model; Unigram models list their texts in order."""
    model = document.get("model")
    entries = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(entries, dict):
        return {text: number for text, number in entries.items() if type(number) is int}
    if isinstance(entries, list):
        return {str(entry[0]): at for at, entry in enumerate(entries) if isinstance(entry, list) and entry}
    return {}


def _differences(
    own: Mapping[str, Any], theirs: Mapping[str, Any], added: tuple[Mapping[str, Any], ...]
) -> Iterator[str]:
    for part in PARTS:
        if _plain(own.get(part)) != _plain(theirs.get(part)):
            yield f"{part} is another than in the base's {FILE}"
    first, known = _size(theirs), _listed(theirs)
    if [one for one in _listed(own) if one not in added] != known:
        yield f"added_tokens below {first} are others than in the base's {FILE}"
    if [one["id"] for one in added] != list(range(first, first + len(added))):
        yield f"ids of appended tokens do not follow each other from {first} on"
    if len(added) > MAX_ADDED:
        yield f"{len(added)} tokens are appended, more than {MAX_ADDED}"
    taken = {*_vocabulary(theirs), *(one.get("content") for one in known)}
    for one in added[:MAX_ADDED]:
        yield from _malformed(one, taken)
        taken.add(one.get("content"))


def _malformed(one: Mapping[str, Any], taken: set[Any]) -> Iterator[str]:
    content, at = one.get("content"), f"appended token {one['id']}"
    if not isinstance(content, str) or not content.strip() or len(content) > MAX_LENGTH:
        yield f"{at} is no text of at most {MAX_LENGTH} characters"
    elif content in taken:
        yield f"{at} stands for a text that is a token already"
    if set(one) != {"id", "content", *FLAGS} or not all(type(one.get(flag)) is bool for flag in FLAGS):
        yield f"{at} has other fields than id, content and {', '.join(FLAGS)}"


def _plain(value: Any) -> Any:
    """Return a part with merges as older versions write them: one text for each pair."""
    if isinstance(value, dict) and isinstance(value.get("merges"), list):
        return {**value, "merges": [" ".join(one) if isinstance(one, list) else one for one in value["merges"]]}
    return value


class TokenizerProbe:
    """tokenizer.added and tokenizer.differences."""

    id = "tokenizer"
    version = "1"
    terms = ("tokenizer.added", "tokenizer.differences")

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Always observed; nothing where the adapter or the base brings no tokenizer.json."""
        tokens, by = tokens_of(subject), ObservedBy.INTAKE
        unused = f"{tokens.without_rows} more have no row, and are not used" if tokens.without_rows else None
        names = tuple(f"{one.get('content')}"[:MAX_LENGTH] for one in tokens.added)
        yield ok("tokenizer.added", names, by=by, reason=unused)
        yield ok("tokenizer.differences", tokens.differences, by=by)
