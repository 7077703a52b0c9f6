"""Rights on a screen and as a document: the lineage with its claims, clearances, snapshots."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from peft_assay.core.commands import NONE, Options, command
from peft_assay.core.digest import Digest
from peft_assay.core.rights import GRANTS, Answer, Clearance, Lineage, Metadata, Node, NodeKind
from peft_assay.report import sink

_CLEARED = "yes (cleared)"


def rights_text(
    name: str,
    artifact: Digest,
    lineage: Lineage,
    in_force: Mapping[str, Clearance],
    snapshot: Digest | None,
    unknown: Sequence[str],
    commands: Sequence[str],
) -> sink.Rendered:
    """Each node with its claims, then the answers, what is open and what contradicts, and the one next command."""
    lines = [sink.phrase("{} {}", name, artifact), ""]
    for node in lineage.nodes:
        lines.extend(_node(node))
    lines += [""]
    for grant in GRANTS:
        answer = _CLEARED if grant in in_force else lineage.answer(grant).value
        lines.append(sink.phrase("{} {}", f"{grant:<15}", answer))
    for label, codes in (("obligations", lineage.obligations()), ("restrictions", lineage.restrictions())):
        if codes:
            lines.append(sink.phrase("{} {}", f"{label:<15}", ", ".join(codes)))
    lines.extend(sink.phrase("unknown         {}", what) for what in unknown)
    lines.extend(sink.phrase("conflict        {}", str(conflict)) for conflict in lineage.conflicts)
    if lineage.undisclosed:
        lines.append(sink.phrase("undisclosed     data of {}; no part of any answer", ", ".join(lineage.undisclosed)))
    lines.extend(
        sink.phrase("clearance       {}: {}, until {}: {}", c.grant, c.by, c.expires, c.reason)
        for c in in_force.values()
    )
    lines.append(sink.phrase("snapshot        {}", snapshot or "none: nobody was asked about bases and datasets"))
    lines.extend(sink.phrase("next: {}", command) for command in commands[:1])
    if unknown:
        lines.extend(_declarable(node) for node in lineage.deciding() if node.licence is None)
    return sink.Rendered("".join(f"{line}\n" for line in lines))


def _declarable(node: Node) -> sink.Rendered:
    """Where the consumer's own document says it: for whoever has read the terms, no signature is needed."""
    match node.kind:
        case NodeKind.ADAPTER:
            return sink.phrase("  or, known to you: rights.declared in peft-assay.yaml, {}: licence, reason", node.id)
        case NodeKind.DATASET:
            return sink.phrase("  or, its terms read: rights.datasets in peft-assay.yaml, {}: LICENCE-ID", node.id)
        case _:
            return sink.phrase("  or, its terms read: context.base.licence in peft-assay.yaml, for {}", node.id)


def _node(node: Node) -> Iterator[sink.Rendered]:
    licence = node.licence
    said = "licence unknown" if licence is None or not licence.is_one else f"{licence.id} ({licence.spdx})"
    aside = "" if node.decides else "; reported only"
    yield sink.phrase("{}: {}{}", node.key, said, aside)
    for claim in node.claims:
        meaning = "not in the licence table" if claim.licence is None else claim.licence.mapping
        yield sink.phrase("  {}: {} [{}] by {}", claim.where, claim.stated, meaning, claim.source.value)
    if licence is not None and licence.note:
        yield sink.phrase("  note: {}", licence.note)
    if node.problem:
        yield sink.phrase("  {}", node.problem)
    if node.gating in {"auto", "manual"}:
        yield sink.phrase("  gated ({}): its terms are for you to accept or not", node.gating)
    if node.revision:
        yield sink.phrase("  revision {}", node.revision)


def rights_document(
    name: str,
    artifact: Digest,
    lineage: Lineage,
    in_force: Mapping[str, Clearance],
    snapshot: Digest | None,
    unknown: Sequence[str],
    commands: Sequence[str],
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "name": name,
        "artifact": artifact,
        "lineage": lineage.digest,
        "snapshot": snapshot,
        "nodes": [_node_document(node) for node in lineage.nodes],
        "edges": [
            {"child": e.child, "parent": e.parent, "relation": e.relation, "evidence": list(e.evidence)}
            for e in lineage.edges
        ],
        "answers": {grant: (Answer.YES if grant in in_force else lineage.answer(grant)).value for grant in GRANTS},
        "obligations": list(lineage.obligations()),
        "restrictions": list(lineage.restrictions()),
        "conflicts": [{"code": conflict.code, "text": conflict.text} for conflict in lineage.conflicts],
        "undisclosed": list(lineage.undisclosed),
        "unknown": list(unknown),
        "clearances": [clearance_document(clearance) for clearance in in_force.values()],
        "next": list(commands),
    }


def _node_document(node: Node) -> dict[str, Any]:
    licence = node.licence
    return {
        "kind": node.kind.value,
        "id": node.id,
        "revision": node.revision,
        "gating": node.gating,
        "decides": node.decides,
        "problem": node.problem or None,
        "claims": [
            {
                "source": claim.source.value,
                "where": claim.where,
                "stated": claim.stated,
                "licence": None if claim.licence is None else claim.licence.id,
                "mapping": None if claim.licence is None else claim.licence.mapping,
            }
            for claim in node.claims
        ],
        "licence": None if licence is None else licence.id,
        "spdx": None if licence is None else licence.spdx,
        "grants": {grant: node.answer(grant).value for grant in GRANTS},
        "obligations": [] if licence is None else list(licence.obligations),
        "restrictions": [] if licence is None else list(licence.restrictions),
    }


def clearance_document(clearance: Clearance) -> dict[str, Any]:
    """A clearance for programs."""
    return {
        "clearance": clearance.envelope,
        "artifact": clearance.artifact,
        "grant": clearance.grant,
        "answered": clearance.answered.value,
        "lineage": clearance.lineage,
        "snapshot": clearance.snapshot,
        "by": clearance.by,
        "reason": clearance.reason,
        "at": clearance.at.isoformat(),
        "expires": clearance.expires.isoformat(),
        "keyid": clearance.keyid,
    }


def clearance_text(clearance: Clearance, source: str, options: Options = NONE) -> sink.Rendered:
    """A clearance that was just signed."""
    return sink.phrase(
        "cleared: {} for {} until {} (declared: {}), by {}\n  clearance {}\n"
        "it holds for exactly these bytes and what is declared and snapshotted now\nnext: {}\n",
        clearance.grant, clearance.artifact, clearance.expires, clearance.answered.value, clearance.by,
        clearance.envelope, command("certify", source, options),
    )  # fmt: skip


def withdrawn_text(clearance: str, source: str, options: Options = NONE) -> sink.Rendered:
    """A clearance that was just taken back."""
    return sink.phrase(
        "withdrawn: clearance {}\nwhat stood on it is certified for another context now\nnext: {}\n",
        clearance, command("verify", source, options),
    )  # fmt: skip


def snapshot_text(
    digest: Digest,
    previous: Digest | None,
    repositories: Sequence[Metadata],
    changes: Sequence[str],
    *,
    source: str,
    kept: bool,
    options: Options = NONE,
) -> sink.Rendered:
    """What was found, what changed, and what to do about it."""
    lines = [
        sink.phrase("{} {}: {}, gated: {}, revision {}", m.kind, m.id, m.status, m.gating, m.revision)
        for m in repositories
    ]
    if not repositories:
        lines.append(sink.phrase("the lineage names no repository of the Hub: there was nobody to ask"))
    lines.extend(sink.phrase("changed: {}", change) for change in changes)
    if kept:
        lines.append(sink.phrase("snapshot {}{}", digest, "" if digest != previous else " (as it was)"))
        lines.append(sink.phrase("next: {}", command("rights show", source, options)))
    elif changes:
        lines.append(sink.phrase("next: {}", command("rights snapshot", source, options)))
    else:
        lines.append(sink.phrase("nothing has changed since snapshot {}", previous))
    return sink.Rendered("".join(f"{line}\n" for line in lines))


def snapshot_document(
    digest: Digest, previous: Digest | None, repositories: Sequence[Metadata], changes: Sequence[str]
) -> dict[str, Any]:
    """The same for programs."""
    return {
        "snapshot": digest,
        "previous": previous,
        "repositories": [
            {
                "kind": m.kind,
                "id": m.id,
                "status": m.status,
                "gating": m.gating,
                "revision": m.revision,
                "files": sorted(m.files or {}),
            }
            for m in repositories
        ],
        "changes": list(changes),
    }
