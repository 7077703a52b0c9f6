"""reach.full_weights: parts of the base that the adapter replaces in full instead of adding to them."""

from collections.abc import Iterable, Iterator
from typing import Any

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.beside import Beside, Comparison
from peft_assay.observe.static.heads import PREFIX, head_names
from peft_assay.observe.static.reading import Configuration, is_whole, read_configuration, read_weights


def full_weights(configuration: Configuration, subject: StaticSubject) -> Iterator[str]:
    """Declared module names, ``bias=...`` and token rows.

    Left out are heads of the declared task (`heads`), embeddings that leave the base's rows as they are, and rows of
    tokens that the base does not have (`beside`).
    """
    try:
        beside, own = Comparison(subject, configuration).found, [one.name for one in read_weights(subject).tensors]
    except Unreadable:  # then all that is declared counts
        beside, own = (), []
    heads = head_names(configuration, own)
    yield from (
        name for name in configuration.names("modules_to_save") if name not in heads and not _kept(name, beside)
    )
    if configuration.get("bias") not in (None, "none"):
        yield f"bias={configuration.get('bias')}"
    for name in ("trainable_token_indices", "token_indices"):
        value = configuration.get(name)
        if value and not _all_new(value, subject):
            yield f"token rows ({name})"
    if configuration.peft_type == "LN_TUNING":
        yield "layer norms (LN_TUNING)"


def _kept(name: str, beside: Iterable[Beside]) -> bool:
    """Return whether all that a name of modules_to_save takes of the base is compared and leaves the base's rows."""
    taken = [one for one in beside if f"{name}." in one.name.removeprefix(PREFIX)]
    return bool(taken) and all(one.unchanged or one.resized for one in taken)


def _all_new(indices: Any, subject: StaticSubject) -> bool:
    """Return whether a list of tokens names only tokens beyond the base's vocabulary."""
    base = subject.context.base
    rows = None if base is None else base.vocabulary
    lists = list(indices.values()) if isinstance(indices, dict) else [indices]
    listed = all(isinstance(one, list) and all(is_whole(index) for index in one) for one in lists)
    return rows is not None and listed and all(index >= rows for one in lists for index in one)


class ReachProbe:
    """reach.full_weights."""

    id = "reach"
    version = "2"
    terms = ("reach.full_weights",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable when the configuration has not one reading."""
        yield ok(self.terms[0], tuple(full_weights(read_configuration(subject), subject)), by=ObservedBy.INTAKE)
