"""rights.*: declared licences of adapter, datasets and base, as identifiers of the committed licence table.

Everything here is somebody's declaration and nothing is verified but that it was made: absent, unknown, placeholder and
family identifiers (`cc`, `other`) are unknown, and unknown is never "no restriction". An audit of dataset hosting sites
found licences omitted for over 70 % and wrong for over 50 % (Longpre et al., doi:10.1038/s42256-024-00878-8).
"""

from collections.abc import Callable, Iterable
from typing import Any

from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.core.rights import Answer, Licence
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.front_matter import front_matter
from peft_assay.observe.static.licence_doubts import doubts
from peft_assay.observe.static.licences import find_licence, stated_licence

USE, LICENCE, COMMERCIAL, DATASETS, BASE = (
    "rights.commercial_use", "rights.licence", "rights.licence_commercial",
    "rights.datasets_commercial", "rights.base_licence_commercial"
)  # fmt: skip


def known_licence(identifier: str) -> Licence:
    """What the table has for `identifier`; raises Unreadable for an id that it does not have."""
    licence = find_licence(identifier)
    if licence is None:
        raise Unreadable(f"licence {identifier[:80]!r} is not in the licence table")
    return licence


def declared_licence(subject: StaticSubject) -> Licence:
    """The adapter's licence: declared for these bytes, for their place, or by the card.

    Raises Unreadable when none is declared or the id says nothing.
    """
    context = subject.context
    override = context.licence_overrides.get(subject.artifact.digest)
    if override is None and context.declaration is not None:
        override = context.declaration.licence
    if override is not None:
        return known_licence(override)
    card = front_matter(subject.files)
    value = card.get("license")
    values: list[Any] = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str) and one.strip() for one in values):
        raise Unreadable("the model card declares no licence (license:)")
    licence = stated_licence(values)
    if licence is None:
        raise Unreadable(f"licence {', '.join(values)[:80]!r} is not in the licence table")
    for where, said in doubts(subject.files, card, licence):
        raise Unreadable(f"the card declares {licence.id}, but {where[:120]} says otherwise: {said[:120]}")
    return licence


def commercial(licence: Licence) -> bool:
    """Whether that licence permits commercial use; raises Unreadable where the table does not say."""
    answer = licence.grants["commercial"]
    if answer is Answer.UNKNOWN:
        why = licence.note or licence.spdx or licence.family
        raise Unreadable(f"licence {licence.id!r} does not decide commercial use by its id ({why})")
    return answer is Answer.YES


def declared_datasets(subject: StaticSubject) -> list[Any]:
    """What the consumer declares of these bytes and of their place, and what the card names as data, each once.

    Raises Unreadable when nobody names any; a card's `datasets: null` names none.
    """
    owned: list[Any] = list(owned_datasets(subject))
    try:
        declared = front_matter(subject.files).get("datasets")
    except Unreadable:
        if not owned:
            raise
        return owned
    names = [declared] if isinstance(declared, str) else declared
    if names is not None and not isinstance(names, list):
        raise Unreadable("no datasets declared: datasets is not a list of names")
    found = [*owned, *(name for name in names or [] if name not in owned)]
    if not found:
        raise Unreadable("no datasets declared")
    return found


def owned_datasets(subject: StaticSubject) -> dict[str, str]:
    """Ids of the register that the consumer declares, each with the field that does."""
    declaration = subject.context.declaration
    placed = () if declaration is None else declaration.datasets
    own = subject.context.dataset_overrides.get(subject.artifact.digest, ())
    return {
        **dict.fromkeys(placed, "peft-assay.yaml: declarations"),
        **dict.fromkeys(own, "peft-assay.yaml: rights.declared"),
    }


def datasets_commercial(subject: StaticSubject) -> tuple[bool, str | None]:
    """Whether every declared dataset's licence permits commercial use, and which one does not.

    One that forbids it decides, whatever is unknown about others; raises Unreadable for anything else unknown.
    """
    unknown: list[str] = []
    for name in declared_datasets(subject):
        licence = subject.context.datasets.get(name) if isinstance(name, str) else None
        if licence is None:
            unknown.append(f"dataset {str(name)[:80]!r} is not in the context's register")
            continue
        try:
            if not commercial(known_licence(licence)):
                return False, f"{name}: {licence}"
        except Unreadable as problem:
            unknown.append(f"dataset {name!r}: {problem}")
    if unknown:
        raise Unreadable("; ".join(unknown[:5]))
    return True, None


class RightsProbe:
    """rights.*; each term fails for its own reason."""

    id = "rights"
    version = "4"
    terms = (USE, LICENCE, COMMERCIAL, DATASETS, BASE)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Every unknown becomes a failed observation of its own term."""
        yield ok(USE, subject.context.commercial_use, by=ObservedBy.INTAKE)
        yield _observed(LICENCE, lambda: (_decided(subject), None))
        yield _observed(COMMERCIAL, lambda: (commercial(declared_licence(subject)), None))
        yield _observed(DATASETS, lambda: datasets_commercial(subject))
        yield _observed(BASE, lambda: (commercial(_base_licence(subject)), None))


def _observed(term: str, look: Callable[[], tuple[bool | str, str | None]]) -> Observation:
    try:
        value, reason = look()
    except Unreadable as problem:
        return failed(term, str(problem), by=ObservedBy.INTAKE)
    return ok(term, value, by=ObservedBy.INTAKE, reason=reason)


def _decided(subject: StaticSubject) -> str:
    licence = declared_licence(subject)
    if not licence.is_one:
        raise Unreadable(f"licence {licence.id!r} is a family or a placeholder, not a licence")
    return licence.id


def _base_licence(subject: StaticSubject) -> Licence:
    if subject.context.base_licence is None:
        raise Unreadable("the context declares no licence of the base (base.licence)")
    return known_licence(subject.context.base_licence)
