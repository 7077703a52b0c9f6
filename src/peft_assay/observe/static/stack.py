"""stack.unsupported: what the declared serving engine cannot serve of this adapter, from a committed capability table.

Engines refuse some adapters, and serve the base under the adapter's name for others; both are cheaper to know here.
"""

from collections.abc import Iterable, Iterator

from peft_assay.core.context import Engine
from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.bounds import max_rank
from peft_assay.observe.static.reading import Configuration, read_configuration
from peft_assay.observe.static.tables import EngineRow, engine_table

FEATURES = (
    "use_dora", "modules_to_save", "lora_bias", "bias", "trainable_token_indices", "target_parameters",
    "alora_invocation_tokens", "arrow_config", "layer_replication", "megatron_config", "rank_pattern", "alpha_pattern",
    "use_rslora", "fan_in_fan_out",
)  # fmt: skip
"""Fields that an engine's row answers for, when they are set."""


def unsupported(configuration: Configuration, engine: Engine, row: EngineRow) -> Iterator[str]:
    """What `engine` cannot serve, as short texts."""
    if row.types is not None and configuration.peft_type not in row.types:
        yield f"peft_type {configuration.peft_type}"
    rank = max_rank(configuration)
    if engine.max_rank is not None and rank > engine.max_rank:
        yield f"rank {rank} > {engine.max_rank}"
    for feature in FEATURES:
        value = configuration.get(feature)
        if value and value != "none" and not row.features.get(feature, False):
            yield feature


class StackProbe:
    """stack.unsupported."""

    id = "stack"
    version = "1"
    terms = ("stack.unsupported",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable for an engine that the table does not know, or whose rank limit the context omits."""
        engine = subject.context.engine
        row = engine_table().engines.get(engine.name)
        if row is None:
            known = ", ".join(sorted(engine_table().engines))
            raise Unreadable(f"engine {engine.name!r} is not in the capability table ({known})")
        if row.limits_rank and engine.max_rank is None:
            raise Unreadable(f"{engine.name} has a rank limit and the context does not declare it (engine.maxRank)")
        found = tuple(unsupported(read_configuration(subject), engine, row))
        yield ok(self.terms[0], found, by=ObservedBy.INTAKE)
