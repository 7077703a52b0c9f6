"""reach.full_weights: parts of the base that the adapter replaces in full instead of adding to them."""

from collections.abc import Iterable, Iterator

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.reading import Configuration, read_configuration


def full_weights(configuration: Configuration) -> Iterator[str]:
    """Declared module names, ``bias=...`` and token rows."""
    yield from configuration.names("modules_to_save")
    if configuration.get("bias") not in (None, "none"):
        yield f"bias={configuration.get('bias')}"
    for name in ("trainable_token_indices", "token_indices"):
        value = configuration.get(name)
        if value:
            yield f"token rows ({name})"
    if configuration.peft_type == "LN_TUNING":
        yield "layer norms (LN_TUNING)"


class ReachProbe:
    """reach.full_weights."""

    id = "reach"
    version = "1"
    terms = ("reach.full_weights",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable when the configuration has not one reading."""
        yield ok(self.terms[0], tuple(full_weights(read_configuration(subject))), by=ObservedBy.INTAKE)
