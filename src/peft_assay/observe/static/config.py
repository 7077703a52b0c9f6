"""config.strict: adapter_config.json against the fields of PEFT's own configuration class.

PEFT drops unknown fields with a warning and checks no types; JSON parsers take the last of two equal keys. A field that
is unknown or of another type is a configuration that means something else here than where it was written. An unknown
one that is null, false or empty means nothing there either: config.unusual names it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.forms import misfit
from peft_assay.observe.static.reading import Configuration, read_configuration
from peft_assay.observe.static.tables import peft_table

_SHOWN = 8
_DROPPED = frozenset({"runtime_config"})
"""Fields that PEFT's reader removes before anything looks at them (`PeftConfigMixin.from_json_file`)."""


def problems(configuration: Configuration) -> Iterator[str]:
    """Return the reasons why the configuration is not strict, field by field, the first of each."""
    for name, value in configuration.values.items():
        row = configuration.row.fields.get(name)
        if row is None:
            if not is_inert(name, value):
                kind = configuration.peft_type
                yield f"{name}: not a field of {kind} in PEFT {peft_table().peft}, and it has a value"
            continue
        found = misfit(value, row.forms, name, either_number="alpha" in name)
        if found is not None:
            yield found


def is_inert(name: str, value: Any) -> bool:
    """Return whether a field that this PEFT does not know says nothing: another version's option that was left alone.

    Every field that some PEFT from 0.2 on wrote and this one does not know had such a default (LoRA's `enable_lora` and
    `merge_weights`, OFT's patterns). What PEFT itself takes out of every configuration is inert with any value.
    """
    return name in _DROPPED or value is None or value is False or (isinstance(value, dict | list | str) and not value)


def left_out(configuration: Configuration) -> tuple[str, ...]:
    """Return the names of the inert fields, in file order."""
    known = configuration.row.fields
    return tuple(name for name, value in configuration.values.items() if name not in known and is_inert(name, value))


class ConfigProbe:
    """config.strict: false with the first problems as its reason."""

    id = "config"
    version = "3"
    terms = ("config.strict",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Gives false rather than failing: that the configuration is not strict was seen."""
        try:
            found = list(problems(read_configuration(subject)))
        except Unreadable as problem:
            found = [str(problem)]
        reason = "; ".join(found[:_SHOWN]) + (" …" if len(found) > _SHOWN else "") if found else None
        yield ok(self.terms[0], not found, by=ObservedBy.INTAKE, reason=reason)
