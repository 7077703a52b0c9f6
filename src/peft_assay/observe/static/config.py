"""config.strict: adapter_config.json against the fields of PEFT's own configuration class.

PEFT drops unknown fields with a warning and checks no types; JSON parsers take the last of two equal keys. A field that
is unknown or of another type is a configuration that means something else here than where it was written.
"""

from collections.abc import Iterable, Iterator

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.forms import misfit
from peft_assay.observe.static.reading import Configuration, read_configuration

_SHOWN = 8


def problems(configuration: Configuration) -> Iterator[str]:
    """Return the reasons why the configuration is not strict, field by field, the first of each."""
    for name, value in configuration.values.items():
        row = configuration.row.fields.get(name)
        if row is None:
            yield f"{name}: not a field of {configuration.peft_type}"
            continue
        found = misfit(value, row.forms, name, either_number="alpha" in name)
        if found is not None:
            yield found


class ConfigProbe:
    """config.strict: false with the first problems as its reason."""

    id = "config"
    version = "2"
    terms = ("config.strict",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Gives false rather than failing: that the configuration is not strict was seen."""
        try:
            found = list(problems(read_configuration(subject)))
        except Unreadable as problem:
            found = [str(problem)]
        reason = "; ".join(found[:_SHOWN]) + (" …" if len(found) > _SHOWN else "") if found else None
        yield ok(self.terms[0], not found, by=ObservedBy.INTAKE, reason=reason)
