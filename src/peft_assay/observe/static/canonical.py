"""weights.canonical: adapter_model.safetensors exists and has exactly one reading."""

from collections.abc import Iterable

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.reading import read_weights


class CanonicalProbe:
    """weights.canonical: false with a reason when the file is absent or has not exactly one reading."""

    id = "header"
    version = "1"
    terms = ("weights.canonical",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Gives false rather than failing: that the file is not canonical was seen."""
        try:
            read_weights(subject)
        except Unreadable as problem:
            yield ok(self.terms[0], value=False, by=ObservedBy.INTAKE, reason=str(problem))
        else:
            yield ok(self.terms[0], value=True, by=ObservedBy.INTAKE)
