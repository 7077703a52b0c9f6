"""jsonSchema: the answer is JSON and satisfies the suite's schema (JSON Schema 2020-12, by the jsonschema library).

A schema is hostile too. References, and keywords whose cost the library does not bound, are refused; patterns are
matched by RE2 instead of Python's engine. What is left visits every part of the schema at most once for every value of
the answer, and both are counted.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.errors import DocumentError
from peft_assay.core.suite import ScorerKind, Suite
from peft_assay.observe.behaviour.scorers.interface import Scores
from peft_assay.observe.behaviour.scorers.json_answer import NotJson, json_of
from peft_assay.observe.suites.patterns import MAX_PATTERN, compile_pattern

MAX_NODES = 300
"""Schemas within a schema."""
_ONE = frozenset({"additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPPINGS = frozenset({"dependentSchemas", "properties"})
_PLAIN = frozenset(
    (
        "$comment",
        "const",
        "default",
        "dependentRequired",
        "deprecated",
        "description",
        "enum",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxContains",
        "maximum",
        "maxItems",
        "maxLength",
        "maxProperties",
        "minContains",
        "minimum",
        "minItems",
        "minLength",
        "minProperties",
        "multipleOf",
        "pattern",
        "readOnly",
        "required",
        "title",
        "type",
        "uniqueItems",
        "writeOnly",
    )
)
KEYWORDS = _ONE | _LISTS | _MAPPINGS | _PLAIN
"""All that a suite's schema may say; a misspelt keyword would otherwise be no rule at all."""


class JsonSchemaScorer:
    """Passes when the answer satisfies the schema."""

    kind = ScorerKind.JSON_SCHEMA

    def of(self, suite: Suite, *, where: str) -> Scores:
        """One schema for all cases."""
        validator = compile_schema(suite.scorer.schema or {}, where=f"{where}: scorer.schema")
        return lambda _case, answer: _satisfies(validator, answer)


def _satisfies(validator: Any, answer: str) -> bool:
    try:
        return bool(validator.is_valid(json_of(answer)))
    except (NotJson, OverflowError, RecursionError):  # an integer of hundreds of digits is no number that a rule knows
        return False


def compile_schema(schema: Mapping[str, Any], *, where: str) -> Any:
    """A validator for `schema`; raises DocumentError that names the place within it."""
    from jsonschema import Draft202012Validator, validators
    from jsonschema.exceptions import SchemaError

    count = 0
    for at, part in _parts(schema, where):
        count += 1
        unknown = sorted(set(part) - KEYWORDS)
        if unknown:
            raise DocumentError(f"{', '.join(unknown)}: not among the keywords that a suite's schema may use", where=at)
        if "pattern" in part:
            _check_pattern(part["pattern"], f"{at}.pattern")
    if count > MAX_NODES:
        raise DocumentError(f"{count} schemas in one; at most {MAX_NODES}", where=where)
    try:
        Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        path = ".".join(map(str, error.absolute_path))
        raise DocumentError(f"not a JSON Schema: {error.message[:200]}", where=f"{where}.{path}".rstrip(".")) from None
    build: Any = validators.extend(Draft202012Validator, {"pattern": _pattern, "uniqueItems": _unique})
    return build(dict(schema))


def _parts(schema: Any, at: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every schema within `schema`, itself first, with its place; true and false are schemas without parts."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, Mapping):
        raise DocumentError("not a schema: neither a mapping nor true or false", where=at)
    yield at, schema
    for name, value in schema.items():
        if name in _ONE:
            yield from _parts(value, f"{at}.{name}")
        elif name in _LISTS and isinstance(value, list):
            for number, item in enumerate(value):
                yield from _parts(item, f"{at}.{name}.{number}")
        elif name in _MAPPINGS and isinstance(value, Mapping):
            for key, item in value.items():
                yield from _parts(item, f"{at}.{name}.{key}")


def _check_pattern(pattern: Any, where: str) -> None:
    if not isinstance(pattern, str) or len(pattern) > MAX_PATTERN:
        raise DocumentError(f"not text of at most {MAX_PATTERN} characters", where=where)
    compile_pattern(pattern, where=where)


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and compile_pattern(pattern, where="pattern").search(instance) is None:
        yield ValidationError("does not match")


def _unique(_validator: Any, unique: bool, instance: Any, _schema: Any) -> Iterator[Any]:
    """The library compares every pair; one spelling of each value is enough."""
    from jsonschema import ValidationError

    if unique and isinstance(instance, list):
        try:
            spelt = {canonical_bytes(item) for item in instance}
        except ValueError:  # integers that canonical JSON cannot say
            spelt = set()
        if len(spelt) != len(instance):
            yield ValidationError("items repeat")
