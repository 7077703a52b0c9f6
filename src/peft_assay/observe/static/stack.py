"""stack.unsupported: what the declared serving engine cannot serve of this adapter, from a committed capability table.

Engines refuse some adapters, and serve the base under the adapter's name for others; both are cheaper to know here.
"""

from collections.abc import Iterable, Iterator

from peft_assay.core.context import Engine
from peft_assay.core.errors import DocumentError
from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.core.parse import parse_json
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.beside import vocabulary_of
from peft_assay.observe.static.bounds import max_rank
from peft_assay.observe.static.reading import Configuration, is_whole, read_configuration
from peft_assay.observe.static.tables import EngineRow, engine_table

FEATURES = (
    "use_dora", "modules_to_save", "lora_bias", "bias", "trainable_token_indices", "target_parameters",
    "alora_invocation_tokens", "arrow_config", "layer_replication", "megatron_config", "rank_pattern", "alpha_pattern",
    "use_rslora", "fan_in_fan_out",
)  # fmt: skip
"""Fields that an engine's row answers for, when they are set."""
ADDED_TOKENS = "added_tokens.json"


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
    if not row.features.get("target_expression", False):
        targets = configuration.get("target_modules")
        if not isinstance(targets, list) and targets != "all-linear":
            yield "target_modules that are no list of names"


def adds_tokens(subject: StaticSubject) -> bool:
    """Whether it brings tokens that the base has no row for, or may: the base's own, copied, are no matter."""
    content = subject.files.get(ADDED_TOKENS)
    if content is None:
        return False
    rows = subject.context.base.vocabulary if subject.context.base is not None else None
    try:
        tokens = parse_json(content.body or b"", where=ADDED_TOKENS)
    except DocumentError:
        return True
    known = isinstance(tokens, dict) and rows is not None
    return not known or any(not is_whole(number) or number >= rows for number in tokens.values())


class StackProbe:
    """stack.unsupported."""

    id = "stack"
    version = "3"
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
        found = list(unsupported(read_configuration(subject), engine, row))
        if not row.features.get("added_tokens", False):
            found += [f"tokens added to the vocabulary ({ADDED_TOKENS})"] if adds_tokens(subject) else []
            found += ["a vocabulary of its own"] if vocabulary_of(subject) is not None else []
        yield ok(self.terms[0], tuple(found), by=ObservedBy.INTAKE)
