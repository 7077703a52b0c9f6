# ruff: noqa: E501 - prose, table rows and examples stand on one line, as they do in the page
"""Pages of the documents that people write: fields, types and limits from the models, meanings from here.

A field without a meaning, or a meaning without a field, is an error: the page cannot fall behind the model.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import reference_meanings
from pydantic import BaseModel
from reference_tables import table

from peft_assay.core.vocabulary import STATIC_TERMS
from peft_assay.evaluate.document import PolicyDocument
from peft_assay.evaluate.expression import CONSTANTS
from peft_assay.observe.suites.cases import CaseLine
from peft_assay.observe.suites.document import SuiteDocument
from peft_assay.observe.suites.forms import FORMS
from peft_assay.pipeline.documents import AssayDocument

TYPES = {
    "context.maximumAge": "duration: a number and `s`, `m`, `h` or `d`, such as `30d`",
    "context.minimumIsolation": "`process` or `namespace`",
}
DEFAULTS = {
    "context.maximumAge": "`30d`",
    "context.minimumIsolation": "`process`",
    "context.engine": "see below",
    "choices": "`[]`",
    "forbidden": "`[]`",
}

Row = tuple[str, str, str]


def context_document() -> str:
    """docs/reference/context-document.md."""
    return (
        "# peft-assay.yaml\n\n"
        "One document says what a deployment is and what must hold in it. Paths are relative to the document. It is strict "
        "YAML: unknown keys, repeated keys, aliases and tags are refused, each error with its field path.\n\n"
        + _fields(AssayDocument, reference_meanings.CONTEXT)
        + reference_meanings.CONTEXT_NOTES
    )


def suite_document() -> str:
    """docs/reference/suite-document.md."""
    return (
        "# Suites\n\n"
        "A suite is a folder with a header (`suite.yaml`) and cases (one JSON object a line). Its digest is over both "
        "files' bytes. It is read as hostile text: no code, no references, patterns by RE2 only.\n\n"
        "## suite.yaml\n\n"
        + _fields(SuiteDocument, reference_meanings.SUITE)
        + "\n## A line of the cases file\n\n"
        + _fields(CaseLine, reference_meanings.CASE)
        + "\n## Scorers\n\n"
        + _scorers()
        + reference_meanings.SUITE_NOTES
    )


def _scorers() -> str:
    """One row for each kind, from the table by which headers and cases are checked."""
    if {kind.value for kind in FORMS} != set(reference_meanings.SCORERS):
        raise LookupError("scorers and meanings differ")
    return table(
        ["kind", "measure", "the header's scorer gives", "each case gives", "an answer passes when"],
        [
            [
                f"`{kind}`",
                f"`{form.measure}`",
                _names(form.needs, form.may),
                _names(form.case_needs, form.case_may),
                passes,
            ]
            for kind, form in FORMS.items()
            for passes in [reference_meanings.SCORERS[kind.value]]
        ],
    )


def _names(needs: frozenset[str], may: frozenset[str]) -> str:
    given = [f"`{name}`" for name in sorted(needs)]
    return ", ".join([*given, *(f"perhaps `{name}`" for name in sorted(may))]) or "–"


def policy_document() -> str:
    """docs/reference/policy-document.md."""
    constants = ", ".join(f"`{name}` ({value})" for name, value in CONSTANTS.items())
    return (
        "# Policies\n\n"
        "A policy is a list of rules over [the vocabulary](vocabulary.md), in the order in which they decide.\n\n"
        + _fields(PolicyDocument, reference_meanings.POLICY)
        + reference_meanings.POLICY_NOTES.format(constants=constants, terms=len(STATIC_TERMS))
    )


def _fields(model: type[BaseModel], meanings: Mapping[str, str]) -> str:
    schema = model.model_json_schema(by_alias=True)
    rows = list(_rows(schema, schema, ""))
    names = {path for path, _, _ in rows}
    if names != set(meanings):
        raise LookupError(f"{model.__name__}: fields and meanings differ: {sorted(names ^ set(meanings))}")
    return table(
        ["field", "type", "default", "meaning"],
        [[f"`{path}`", kind, default, meanings[path]] for path, kind, default in rows],
    )


def _rows(schema: Mapping[str, Any], root: Mapping[str, Any], prefix: str) -> Iterator[Row]:
    for name, field in schema["properties"].items():
        path = prefix + name
        default = "required" if name in schema.get("required", ()) else f"`{json.dumps(field.get('default'))}`"
        resolved = _resolve(field, root)
        yield path, TYPES.get(path) or _kind(field, root), DEFAULTS.get(path, default)
        inner, infix = _inner(resolved, root)
        if inner is not None and path not in TYPES:
            yield from _rows(inner, root, path + infix)


def _resolve(field: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in field:
        target: Mapping[str, Any] = root["$defs"][field["$ref"].rsplit("/", 1)[1]]
        return target
    if "anyOf" in field:
        return _resolve(next(option for option in field["anyOf"] if option.get("type") != "null"), root)
    return field


def _inner(field: Mapping[str, Any], root: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str]:
    """The object schema whose fields follow, and how its path continues."""
    if "properties" in field:
        return field, "."
    for key, infix in (("items", "[]."), ("additionalProperties", ".<key>.")):
        child = field.get(key)
        if isinstance(child, Mapping) and "properties" in _resolve(child, root):
            return _resolve(child, root), infix
    patterned = list(field.get("patternProperties", {}).values())
    if patterned and "properties" in _resolve(patterned[0], root):
        return _resolve(patterned[0], root), ".<key>."
    return None, ""


def _kind(field: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_kind(option, root) for option in field["anyOf"]))
    if "$ref" in field:
        return _kind(_resolve(field, root), root)
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    kind: str = {
        "object": "mapping",
        "array": "list",
        "string": "text",
        "boolean": "true or false",
        "null": "null",
    }.get(field["type"], field["type"])
    if kind == "list" and isinstance(field.get("items"), Mapping):
        kind = f"list of {_kind(field['items'], root)}"
    return kind + _limits(field)


def _limits(field: Mapping[str, Any]) -> str:
    said = []
    for low, high, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
    ):
        if low in field or high in field:
            said.append(f"{field.get(low, 0)}..{field.get(high, '')}{unit}")
    if "pattern" in field:
        said.append(f"`{field['pattern']}`")
    return f", {', '.join(said)}" if said else ""
