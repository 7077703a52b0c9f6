"""config.base_rewrites: fields by which merely loading the adapter changes the base's own tensors.

`init_lora_weights` of PiSSA, OLoRA and LoftQ decomposes the base's weights and writes the residual back, on loading too
(peft issue 2184); CorDA does where it can be loaded at all; `layer_replication` rebuilds the decoder and edits the
shared model configuration; `kasa_config` truncates the base's matrices in place.
"""

from collections.abc import Iterable, Iterator

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.reading import Configuration, read_configuration

_INIT_FIELDS = ("init_lora_weights", "init_weights", "init_ia3_weights")
HARMLESS = frozenset(
    {
        "gaussian", "kaiming_uniform", "orthogonal", "uniform", "xavier_uniform", "zero",
        "bat", "eva", "lora_ga", "lycoris", "mica", "mini",
    }
)  # fmt: skip
"""Initialisations that write nothing of the base: they fill the adapter's own parameters, all of which its file then
gives (measured for each: tests/loading/test_initialisers.py)."""


def rewrites(configuration: Configuration) -> Iterator[str]:
    """The fields with their values; any initialisation that is not known to be harmless counts."""
    for name in _INIT_FIELDS:
        value = configuration.get(name)
        if value is None or isinstance(value, bool):
            continue
        if not (isinstance(value, str) and value.lower() in {*HARMLESS, "true", "false"}):
            yield f"{name}={value}"
    if configuration.get("layer_replication"):
        yield "layer_replication"
    if configuration.get("kasa_config") is not None:
        yield "kasa_config"
    if configuration.row.rewrites_base:
        yield f"peft_type={configuration.peft_type}"


class RewritesProbe:
    """config.base_rewrites."""

    id = "rewrites"
    version = "2"
    terms = ("config.base_rewrites",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable when the configuration has not one reading."""
        yield ok(self.terms[0], tuple(rewrites(read_configuration(subject))), by=ObservedBy.INTAKE)
