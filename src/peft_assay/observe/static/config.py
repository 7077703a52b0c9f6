"""config.strict: adapter_config.json against the fields of PEFT's own configuration class.

PEFT drops unknown fields with a warning and checks no types; JSON parsers take the last of two equal keys. A field that
is unknown or of another type is a configuration that means something else here than where it was written.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.reading import Configuration, read_configuration

_JSON_TYPES = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict", type(None): "null"}
_SHOWN = 8


def problems(configuration: Configuration) -> Iterator[str]:
    """What keeps the configuration from being strict, field by field."""
    for name, value in configuration.values.items():
        row = configuration.row.fields.get(name)
        if row is None:
            yield f"{name}: not a field of {configuration.peft_type}"
        elif not _fits(name, value, row.types):
            yield f"{name}: {_JSON_TYPES[type(value)]} where {' or '.join(row.types)} is meant"


def _fits(name: str, value: Any, allowed: list[str]) -> bool:
    found = _JSON_TYPES[type(value)]
    if found in allowed or "any" in allowed:
        return True
    # JSON has one kind of number: 1 is a float's value too, and PEFT divides alphas, whatever their annotation.
    return (found == "int" and "float" in allowed) or (found == "float" and "int" in allowed and "alpha" in name)


class ConfigProbe:
    """config.strict: false with the first problems as its reason."""

    id = "config"
    version = "1"
    terms = ("config.strict",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Gives false rather than failing: that the configuration is not strict was seen."""
        try:
            found = list(problems(read_configuration(subject)))
        except Unreadable as problem:
            found = [str(problem)]
        reason = "; ".join(found[:_SHOWN]) + (" …" if len(found) > _SHOWN else "") if found else None
        yield ok(self.terms[0], not found, by=ObservedBy.INTAKE, reason=reason)
