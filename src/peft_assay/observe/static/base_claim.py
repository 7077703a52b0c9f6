"""base.claims: what is odd about the base that the adapter says it was made for.

The base never comes from an adapter here, so none of this changes what is loaded; but an adapter whose base is a local
path, unnamed, or another in the card than in the configuration is one whose base somebody has to find out.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.base_names import Likeness, is_copy, is_place, likeness
from peft_assay.observe.static.front_matter import front_matter
from peft_assay.observe.static.reading import Configuration, read_configuration

_QUANTISED = re.compile(r"(?i)(bnb|[248]-?bit|gptq|awq|gguf|int[48]|fp16|sharded|unsloth/)")
_GENERIC = frozenset({"model", "models", "base", "base_model", "output", "checkpoint"})
_SHOWN = 120
_BESIDE = {
    Likeness.SAME: "card-spells-otherwise",
    Likeness.PLACE: "path-and-id",
    Likeness.TWIN: "quantised-twin",
    Likeness.OTHER: "card-differs",
}
"""Codes for a card that does not say what the configuration says, letter by letter."""


def claims(configuration: Configuration, card: Any) -> Iterator[str]:
    """Codes, each with what it is about."""
    base = configuration.get("base_model_name_or_path")
    named = base if isinstance(base, str) and base.strip() else None
    declared = card.get("base_model") if isinstance(card, dict) else None
    others = [declared] if isinstance(declared, str) else declared if isinstance(declared, list) else []
    said = next((other for other in others if isinstance(other, str) and other.strip()), None)
    if named is None and said is not None:
        yield f"named-by-card-alone: {said[:_SHOWN]}"
    elif named is None:
        yield "unnamed: base_model_name_or_path is null or empty"
    else:
        yield from (f"{code}: {named[:_SHOWN]}" for code in _about(named))
    if configuration.get("revision") in (None, ""):
        yield "no-revision: any version of the base may be meant"
    for other in others:
        if not isinstance(other, str) or not other.strip():
            continue
        if is_place(other):
            yield f"card-local-path: {other[:_SHOWN]}"
        if named is not None and other != named:
            yield f"{_beside(named, other)}: {other[:_SHOWN]}"


def _beside(named: str, other: str) -> str:
    """Return the code for a card's name of the base beside the configuration's."""
    found = likeness(named, other)
    if found is Likeness.PLACE and is_place(named) and is_place(other):
        return "card-differs"
    return _BESIDE[found]


def _about(base: str) -> Iterator[str]:
    if is_place(base) or base.lower() in _GENERIC:
        yield "local-path"
    elif "/" not in base:
        yield "no-owner"
    if _QUANTISED.search(base) or is_copy(base):
        yield "quantised-or-reuploaded"


class BaseClaimProbe:
    """base.claims."""

    id = "base_claim"
    version = "2"
    terms = ("base.claims",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable when the configuration has not one reading."""
        configuration = read_configuration(subject)
        try:
            card = front_matter(subject.files)
        except Unreadable:
            card = {}
        yield ok(self.terms[0], tuple(claims(configuration, card)), by=ObservedBy.INTAKE)
