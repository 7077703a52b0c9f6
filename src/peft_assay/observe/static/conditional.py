"""config.conditional: fields that make behaviour depend on tokens or on routing.

An activated LoRA (`alora_invocation_tokens`) is the base's own behaviour until its token sequence appears: no test that
does not contain the sequence sees the adapter. Routed types choose between experts by input or by a task id.
"""

from collections.abc import Iterable, Iterator

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.reading import Configuration, read_configuration

_FIELDS = ("alora_invocation_tokens", "arrow_config", "sample_at_inference")
_ROUTED_TYPES = frozenset({"XLORA", "POLY", "MULTITASK_PROMPT_TUNING"})


def conditions(configuration: Configuration) -> Iterator[str]:
    """Names of the fields that are set, or the type itself."""
    # An empty token list is set, too: what PEFT makes of it is not ours to guess.
    yield from (name for name in _FIELDS if configuration.get(name) not in (None, False))
    if configuration.peft_type in _ROUTED_TYPES:
        yield f"peft_type={configuration.peft_type}"


class ConditionalProbe:
    """config.conditional."""

    id = "conditional"
    version = "1"
    terms = ("config.conditional",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable when the configuration has not one reading."""
        yield ok(self.terms[0], tuple(conditions(read_configuration(subject))), by=ObservedBy.INTAKE)
