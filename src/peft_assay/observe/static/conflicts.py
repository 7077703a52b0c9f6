"""Claims that contradict each other in a lineage, each with a stable code.

A derivative published under a looser licence than its base's is the common case, not the exotic one: an audit found two
thirds of licences on hosting sites to differ from the source's (Longpre et al., doi:10.1038/s42256-024-00878-8).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from peft_assay.core.rights import GRANTS, Answer, Claim, ClaimSource, Conflict, Licence, Lineage, Node, NodeKind
from peft_assay.observe.static.base_names import Likeness, likeness
from peft_assay.observe.static.licences import members_of

NO_REVISION = "no-revision"
"""Not a contradiction: the base is named, and no version of it. Nearly every published adapter is so."""
_CUT = 120
_SHOWN = 3
_SHARED = frozenset({"share-alike", "use-restrictions-flow-down"})
"""Obligations that a derivative's own licence has to carry on."""


def conflicts(lineage: Lineage, card: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Conflict]:
    """Every conflict, in the order of the graph; `card` and `config` are the adapter's own."""
    by_key = {node.key: node for node in lineage.nodes}
    for node in lineage.nodes:
        yield from _disagreeing(node)
    for edge in lineage.edges:
        child, parent = by_key[edge.child], by_key[edge.parent]
        if parent.kind is NodeKind.BASE:
            yield from _looser(child, parent)
    yield from _bases(card, config)


def _disagreeing(node: Node) -> Iterator[Conflict]:
    """Claims about one node that mean different licences; unknown identifiers differ from nothing."""
    known = [(claim, claim.licence) for claim in node.claims if claim.licence is not None and claim.licence.is_one]
    for at, (claim, licence) in enumerate(known):
        for other, second in known[:at]:
            one, two = members_of(licence), members_of(second)
            if not (one <= two or two <= one) and not _both_texts(claim, other):
                yield Conflict(
                    "licence-disagrees",
                    f"{node.key[:_CUT]}: {other.where} says {second.id}, {claim.where} says {licence.id}",
                )
                return


def _both_texts(one: Claim, other: Claim) -> bool:
    """A NOTICE that quotes three licences contradicts nobody."""
    return one.source is ClaimSource.TEXT and other.source is ClaimSource.TEXT


def _looser(child: Node, parent: Node) -> Iterator[Conflict]:
    own, inherited = child.licence, parent.licence
    if own is None or inherited is None or own.id == inherited.id:
        return
    missing = [*_missing_grants(own, inherited), *_missing_terms(own, inherited)]
    if missing:
        yield Conflict(
            "looser-than-base",
            f"{child.key[:_CUT]} is under {own.id}, {parent.key[:_CUT]} under {inherited.id} ({', '.join(missing)})",
        )


def _missing_grants(own: Licence, inherited: Licence) -> Iterator[str]:
    if inherited.is_one:
        for grant in GRANTS:
            if own.grants[grant] is Answer.YES and inherited.grants[grant] is not Answer.YES:
                yield f"{grant}: {inherited.grants[grant].value}"


def _missing_terms(own: Licence, inherited: Licence) -> Iterator[str]:
    """Restrictions on use that the child drops, and terms that oblige it to keep the parent's licence."""
    yield from sorted(set(inherited.restrictions) - set(own.restrictions))
    yield from sorted((_SHARED & set(inherited.obligations)) - set(own.obligations))


def _bases(card: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Conflict]:
    configured, stated = config.get("base_model_name_or_path"), _names(card.get("base_model"))
    own = configured if isinstance(configured, str) and configured.strip() else None
    # A path names nothing elsewhere, and a copy says of what: both stand in base.claims, and contradict nothing.
    if own is not None and stated and all(likeness(own, name) is Likeness.OTHER for name in stated):
        said = ", ".join(name[:_CUT] for name in stated[:_SHOWN])
        yield Conflict("base-differs", f"README.md says {said}, adapter_config.json says {own[:_CUT]}")
    named = next((name for name in (configured, *stated) if isinstance(name, str) and name.strip()), None)
    if named is not None and config.get("revision") in (None, ""):
        yield Conflict(NO_REVISION, f"{named[:_CUT]}: any version of it may be meant")


def _names(value: Any) -> list[str]:
    """Return the names in a field that holds one or several."""
    values = value if isinstance(value, list) else [value]
    return [name for name in values if isinstance(name, str) and name.strip()]
