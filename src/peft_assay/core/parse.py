"""Strict parsing of untrusted JSON and YAML bytes: one meaning per document, or an error that names the place.

JSON parsers differ in what they make of duplicate keys (RFC 8259 section 4 leaves it open): a checker and a loader that
differ see two documents in one file. Both formats are therefore refused when a key repeats, and YAML is read without
aliases, tags and implicit timestamps (a document small enough to read stays small when parsed).
"""

import json
import math
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from peft_assay.core.canonical import MAX_EXACT_INTEGER, canonical_bytes
from peft_assay.core.errors import DocumentError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_DOCUMENT_BYTES = 8 << 20
MAX_DEPTH = 32
MAX_PART = 100
"""Characters of a key that an error quotes."""
_SURROGATE = re.compile("[\ud800-\udfff]")

Model = TypeVar("Model", bound=BaseModel)


def parse_json(
    content: bytes, *, where: str, max_bytes: int = MAX_DOCUMENT_BYTES, canonical_numbers: bool = False
) -> Any:
    """Return the JSON value in `content`; raises DocumentError on duplicate keys, NaN/Infinity, depth, size, bad text.

    With `canonical_numbers` (for signed content) also on a number that is not spelt as RFC 8785 spells its double: -0,
    1.0, and integers that only some readers read exactly. Whole numbers beyond 2**53 - 1 are floats then.
    """
    text = _text(content, where, max_bytes)
    hooks: dict[str, Any] = dict.fromkeys(("parse_int", "parse_float"), _canonical_number) if canonical_numbers else {}
    try:
        value = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, **hooks)
    except _Refused as refusal:
        raise DocumentError(str(refusal), where=where) from None
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"not valid JSON: {error}", where=where) from None
    _check_tree(value, where)
    return value


def parse_yaml(content: bytes, *, where: str, max_bytes: int = MAX_DOCUMENT_BYTES) -> Any:
    """The YAML value in `content` (YAML 1.1 core types only); raises DocumentError as `parse_json` does."""
    text = _text(content, where, max_bytes)
    try:
        value = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader subclass
    except _Refused as refusal:
        raise DocumentError(str(refusal), where=where) from None
    except yaml.YAMLError as error:
        raise DocumentError(f"not valid YAML: {_one_line(error)}", where=where) from None
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"not valid YAML: {error}", where=where) from None
    _check_tree(value, where)
    return value


def validate(model: type[Model], value: Any, *, where: str) -> Model:
    """`value` as `model`; raises one DocumentError that lists every problem with its path."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise DocumentError(problems_of(error), where=where) from None


def problems_of(error: ValidationError) -> str:
    """Every problem that `error` lists, each with its path."""
    found = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{_path(item['loc'])}: {_problem(item)}" for item in found)


_PROBLEMS: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "literal_error": "must be {expected}",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
    "value_error": "{error}",
}
"""What is wrong, by pydantic's type of error, in the words of somebody who writes a document and not a program."""


def _problem(item: "ErrorDetails") -> str:
    said = _PROBLEMS.get(item["type"])
    if said is None:  # a kind that no document of ours has met: pydantic's own words
        return f"{item['msg'][:1].lower()}{item['msg'][1:]}"
    context = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in item.get("ctx", {}).items()
    }
    return "is empty" if context.get("min_length") == 1 else said.format(**context)


def _path(parts: Iterable[object]) -> str:
    return ".".join(str(part)[:MAX_PART] for part in parts) or "(document)"


class _Refused(ValueError):
    pass


def _text(content: bytes, where: str, max_bytes: int) -> str:
    if len(content) > max_bytes:
        raise DocumentError(f"{len(content)} bytes, more than the {max_bytes} allowed", where=where)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"not UTF-8 (byte {error.start})", where=where) from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise _Refused(f"key {key!r} appears twice")
        result[key] = value
    return result


def _no_constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not a JSON number")


def _canonical_number(text: str) -> int | float:
    """Return the number in `text` if every reader reads the same one."""
    if len(text) < 16 and text.isdigit():  # the usual case
        return int(text)
    value = float(text)
    if not math.isfinite(value) or canonical_bytes(value) != text.encode():
        raise _Refused(f"the number {text[:MAX_PART]} is not spelt canonically (RFC 8785): readers differ in its value")
    whole = int(value) if value.is_integer() else None
    return whole if whole is not None and abs(whole) <= MAX_EXACT_INTEGER else value


def _check_tree(root: Any, where: str) -> None:
    """Raises DocumentError for what no document may hold; needs memory for its depth alone, however wide it is."""
    unread: list[Iterator[tuple[str | int, Any]]] = [iter([("", root)])]
    path: list[str | int] = []
    while unread:
        step = next(unread[-1], None)
        if step is None:
            unread.pop()
            continue
        part, value = step
        path[len(unread) - 1 :] = [part]
        if len(unread) > MAX_DEPTH + 1:
            raise DocumentError(f"nested more than {MAX_DEPTH} deep", where=where)
        if isinstance(value, float) and not math.isfinite(value):
            raise DocumentError(f"{_path(path[1:])}: a number is not finite", where=where)
        if isinstance(value, str):
            _check_text(value, where)
        elif isinstance(value, dict):
            for key in value:
                _check_text(key, where)
            unread.append(iter(value.items()))
        elif isinstance(value, list):
            unread.append(iter(enumerate(value)))


def _check_text(text: str, where: str) -> None:
    if _SURROGATE.search(text):
        raise DocumentError("text holds half a surrogate pair, which no UTF-8 can say", where=where)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader without aliases, tags, duplicate or non-string keys, merge keys and implicit timestamps."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise _Refused(f"line {mark.line + 1}: aliases are not allowed")
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if event.tag is not None:
            raise _Refused(f"line {event.start_mark.line + 1}: tags are not allowed")
        return super().compose_node(parent, index)


def _strict_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key: Hashable = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise _Refused(f"line {key_node.start_mark.line + 1}: key {key!r} is not text")
        if key in result:
            raise _Refused(f"line {key_node.start_mark.line + 1}: key {key!r} appears twice")
        result[key] = loader.construct_object(value_node, deep=True)
    return result


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _strict_mapping)
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
