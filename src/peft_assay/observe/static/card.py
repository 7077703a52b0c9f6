"""card.gaps: what the model card leaves open that a consumer has to know.

PEFT writes a card whose rows say "[More Information Needed]"; most published adapters leave them, or have no card.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from peft_assay.core.artifact import CARD_FILE
from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.files import is_licence
from peft_assay.observe.static.front_matter import CardUnreadable, front_matter
from peft_assay.observe.static.licences import stated_licence

UNFILLED = b"More Information Needed"
"""Of PEFT's template in square brackets, of a Trainer's card as "More information needed"."""
_IDENTIFIERS = 8
_PLACEHOLDERS = {"license", "licence", "none", "null", "n/a", "tbd"}


def gaps(subject: StaticSubject) -> Iterator[str]:
    """Codes, each with what it is about."""
    content = subject.files.get(CARD_FILE)
    if not any(is_licence(path) for path in subject.files):
        yield "no-licence-file: there is no LICENSE beside the weights"
    if content is None:
        yield f"no-card: there is no {CARD_FILE}"
        return
    if content.body is not None and UNFILLED.lower() in content.body.lower():
        yield "unfilled: rows of the card's template still say that more information is needed"
    try:
        metadata = front_matter(subject.files)
    except CardUnreadable as problem:
        yield f"{problem.code}: {problem}"
        return
    yield from _about(metadata)


def _about(metadata: dict[str, Any]) -> Iterator[str]:
    licence = metadata.get("license")
    misspelt = sorted(key for key in metadata if key.lower() in {"licence", "licenses", "lisence"})
    yield from (f"licence-misspelt: the key is {key!r}, nobody reads it" for key in misspelt)
    if licence is None or licence == "":
        yield "no-licence: license is not declared"
    elif isinstance(licence, list) and licence and all(isinstance(one, str) for one in licence):
        if len(licence) > 1:
            yield "licence-not-one: license names several, and not whether all hold or one is chosen"
        for identifier in licence[:_IDENTIFIERS]:
            yield from _about_identifier(identifier)
    elif not isinstance(licence, str):
        yield "licence-not-one: license is not one identifier"
    else:
        yield from _about_identifier(licence)
    if "datasets" in metadata and metadata["datasets"] is None:
        yield "datasets-null: datasets is declared as null, which says nothing and not that there were none"
    elif not metadata.get("datasets"):
        yield "no-datasets: what it was trained on is not declared"
    if metadata.get("model-index") or metadata.get("model_index"):
        yield "claims-results: model-index says how it performs; nobody has checked it"


def _about_identifier(identifier: str) -> Iterator[str]:
    found = stated_licence([identifier])
    if identifier.strip().lower() in _PLACEHOLDERS or (found is not None and not found.is_one):
        yield f"licence-placeholder: {identifier[:80]}"
    elif found is None:
        yield f"licence-unknown: licence {identifier[:80]!r} is not in the licence table"


class CardProbe:
    """card.gaps."""

    id = "card"
    version = "3"
    terms = ("card.gaps",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Always observed: a card that is absent or cannot be read is a gap."""
        yield ok(self.terms[0], tuple(gaps(subject)), by=ObservedBy.INTAKE)
