"""rights.grants.* and what belongs to them: the answers of the whole lineage, not of one card.

An answer that is unknown is a failed observation whose reason ends with the command that settles it. A signed clearance
makes one known, for exactly these bytes and claims; everything else about the lineage is then still told as it is.
"""

from collections.abc import Iterable, Iterator
from datetime import timedelta

from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.core.rights import GRANTS, Answer, Claim, ClaimSource, Clearance, Lineage, Node
from peft_assay.observe.interface import StaticContext, StaticSubject
from peft_assay.observe.static.conflicts import NO_REVISION
from peft_assay.observe.static.licences import nearest
from peft_assay.observe.static.lineage import lineage

_BY = ObservedBy.INTAKE
_SHOWN = 3
_CUT = 90
_PREFIX = "rights.grants."


def settling(named: str, grant: str) -> str:
    """The command that settles an unknown answer; `named` is a source, or the digest of an admitted artifact."""
    return f"peft-assay rights clear {named} --grant {grant} --reason 'HOW YOU KNOW' --by 'YOUR NAME'"


def in_force(context: StaticContext, found: Lineage) -> dict[str, Clearance]:
    """The clearance that holds for each grant now; the one that lasts longest where there are several."""
    if context.now is None:
        return {}
    holding = [c for c in context.clearances if c.holds(found, context.snapshot, context.now)]
    return {clearance.grant: clearance for clearance in sorted(holding, key=lambda c: c.expires)}


def unknown_nodes(found: Lineage) -> tuple[str, ...]:
    """Every deciding node whose licence is not known, and why."""
    return tuple(f"{node.key[:_CUT]}: {why_unknown(node)}" for node in found.deciding() if not _is_known(node))


def _is_known(node: Node) -> bool:
    return node.licence is not None and node.licence.is_one


def why_unknown(node: Node) -> str:
    """Why the licence of `node` is not known."""
    claim = node.deciding
    if claim is not None:
        if claim.licence is None:
            return f"{claim.stated[:_CUT]!r} is not in the licence table{_meant(claim)}"
        if not claim.licence.is_one:
            return f"{claim.licence.id!r} names no licence: {claim.licence.note}"
    if any(claim.source is not ClaimSource.TEXT for claim in node.claims):
        return "several licences are declared, and not which holds"
    candidate = next((claim for claim in node.claims if claim.licence is not None), None)
    if candidate is not None:
        return f"{candidate.where} reads as {candidate.stated}, which somebody has to confirm"
    return node.problem or "no licence is declared"


def _meant(claim: Claim) -> str:
    """A question about the consumer's own words; what others wrote is left as it is."""
    likely = nearest(claim.stated) if claim.source is ClaimSource.DECLARED else None
    return "" if likely is None else f"; did you mean {likely} ({claim.where[:_CUT]})?"


def candidates_of(found: Lineage) -> tuple[str, ...]:
    """Recognised texts of nodes whose licence nobody declared."""
    return tuple(
        f"{node.key[:_CUT]}: {claim.where}: {claim.stated}"
        for node in found.deciding()
        if not _is_known(node)
        for claim in node.claims
        if claim.source is ClaimSource.TEXT
    )


class LineageProbe:
    """rights.grants.* and the lists about the lineage."""

    id = "lineage"
    version = "2"
    terms = (
        *(f"{_PREFIX}{grant}" for grant in GRANTS),
        "rights.candidates", "rights.cleared", "rights.gated", "rights.lineage_conflicts", "rights.obligations",
        "rights.undisclosed", "rights.unknown_nodes", "rights.unpinned", "rights.use_restrictions",
        "context.production", "context.maximum_age_hours",
    )  # fmt: skip

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Lists are always observed; a grant only where its answer is known or cleared."""
        found = lineage(subject)
        cleared = in_force(subject.context, found)
        yield from (_grant(found, grant, cleared.get(grant), subject.artifact.digest) for grant in GRANTS)
        lists = {
            "rights.candidates": candidates_of(found),
            "rights.cleared": tuple(sorted(cleared)),
            "rights.gated": tuple(n.key[:_CUT] for n in found.nodes if n.gating in {"auto", "manual"}),
            "rights.lineage_conflicts": tuple(str(c) for c in found.conflicts if c.code != NO_REVISION),
            "rights.obligations": found.obligations(),
            "rights.undisclosed": found.undisclosed,
            "rights.unknown_nodes": unknown_nodes(found),
            "rights.unpinned": tuple(c.text for c in found.conflicts if c.code == NO_REVISION),
            "rights.use_restrictions": found.restrictions(),
        }
        yield from (ok(name, value, by=_BY) for name, value in lists.items())
        yield ok("context.production", subject.context.production, by=_BY)
        yield ok("context.maximum_age_hours", subject.context.maximum_age // timedelta(hours=1), by=_BY)


def _grant(found: Lineage, grant: str, clearance: Clearance | None, artifact: str) -> Observation:
    name, answer = f"{_PREFIX}{grant}", found.answer(grant)
    if clearance is not None:
        until = clearance.expires.strftime("%Y-%m-%d")
        said = f"cleared by {clearance.by[:_CUT]} until {until} (declared: {answer.value}): {clearance.reason[:200]}"
        return ok(name, True, by=_BY, reason=said)
    if answer is Answer.UNKNOWN:
        reasons = "; ".join(_unanswered(found, grant))
        return failed(name, f"{reasons}; settle it: {settling(artifact, grant)}", by=_BY)
    if answer is Answer.NO:
        nodes = ", ".join(f"{n.key[:_CUT]} ({n.licence.id})" for n in found.nodes_saying(grant, answer) if n.licence)
        return ok(name, False, by=_BY, reason=f"not given by {nodes}")
    return ok(name, True, by=_BY)


def _unanswered(found: Lineage, grant: str) -> Iterator[str]:
    nodes = found.nodes_saying(grant, Answer.UNKNOWN)
    for node in nodes[:_SHOWN]:
        name = node.kind.value if node.id.startswith("sha256:") else node.key[:60]
        licence = node.licence
        undecided = licence is not None and licence.is_one
        yield f"{name}: {licence.id + ' leaves it open' if undecided and licence else why_unknown(node)[:_CUT]}"
    if len(nodes) > _SHOWN:
        yield f"and {len(nodes) - _SHOWN} more"
