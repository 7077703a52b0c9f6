"""Rights: who declared what about an adapter, its base and its data, and what follows from it in three-valued logic.

Every fact is a claim with a source. What nobody claimed is unknown, and unknown is never "no restriction": it makes a
conjunction unknown unless something else in it is a no (Kleene's strong logic of indeterminacy, 1938).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest

GRANTS = ("commercial", "derivatives", "redistribution", "hosted")
"""What one asks of a licence: commercial use, modified versions, passing copies on, offering it as a service."""


class Answer(StrEnum):
    """Yes, no, or nobody knows."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


def all_of(answers: Iterable[Answer]) -> Answer:
    """Kleene's conjunction; over nothing it is UNKNOWN, because nothing was asked."""
    met = set(answers)
    if Answer.NO in met:
        return Answer.NO
    return Answer.YES if met == {Answer.YES} else Answer.UNKNOWN


@dataclass(frozen=True, slots=True)
class Licence:
    """One row of the reviewed table, as somebody's identifier resolved to it."""

    id: str
    spdx: str | None
    """SPDX identifier or LicenseRef; None for a family or a placeholder."""
    mapping: str
    """exact, alias (an assumption is in `note`), ref, or unknown."""
    family: str
    grants: Mapping[str, Answer]
    obligations: tuple[str, ...]
    restrictions: tuple[str, ...]
    note: str | None
    source: str

    @property
    def is_one(self) -> bool:
        """Whether the identifier means one licence at all."""
        return self.mapping != "unknown"


class ClaimSource(StrEnum):
    """Where a claim was made; the first of these that is there decides for its node."""

    DECLARED = "declared"
    """The deployment's own document, about exactly this node."""
    FLEET = "fleet"
    """The deployment's own document, about everything from one place."""
    CARD = "card"
    CONFIG = "config"
    TEXT = "licence-file"
    """A text that was recognised: a candidate for somebody to confirm, which decides nothing."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody's words about the licence of one node. `stated` may be hostile text."""

    source: ClaimSource
    where: str
    """File or field."""
    stated: str
    licence: Licence | None
    """None: the table does not know the identifier."""


class NodeKind(StrEnum):
    """What a node is."""

    ADAPTER = "adapter"
    BASE = "base"
    DATASET = "dataset"


@dataclass(frozen=True, slots=True)
class Node:
    """One thing that the adapter is made of."""

    kind: NodeKind
    id: str
    """Digest of the adapter, or a name as its claimant wrote it (may be hostile text)."""
    claims: tuple[Claim, ...] = ()
    revision: str | None = None
    gating: str = "unknown"
    """no, auto, manual or unknown: whether somebody has to agree to terms first."""
    decides: bool = True
    """False: reported, and not part of the conjunction (what a base was trained on, say)."""
    problem: str = ""
    """Why no claim decides, where there is more to say than that there is none."""

    @property
    def key(self) -> str:
        """How edges, answers and people name it."""
        return f"{self.kind.value} {self.id}"

    @property
    def deciding(self) -> Claim | None:
        """The claim that counts: of the strongest source, never a recognised text, and only one licence."""
        made = [claim for claim in self.claims if claim.source is not ClaimSource.TEXT]
        strongest = min((list(ClaimSource).index(claim.source) for claim in made), default=None)
        if strongest is None:
            return None
        standing = [claim for claim in made if claim.source is list(ClaimSource)[strongest]]
        return standing[0] if len(standing) == 1 else None

    @property
    def licence(self) -> Licence | None:
        """What the deciding claim means; None when there is none or its identifier is not in the table."""
        claim = self.deciding
        return None if claim is None else claim.licence

    def answer(self, grant: str) -> Answer:
        """What its licence says of `grant`."""
        licence = self.licence
        return Answer.UNKNOWN if licence is None else licence.grants[grant]


@dataclass(frozen=True, slots=True)
class Edge:
    """`child` was made from `parent`; `evidence` says which fields say so."""

    child: str
    parent: str
    relation: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two claims that cannot both hold, or one that points at nothing fixed. `text` may quote hostile text."""

    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.code}: {self.text}"


@dataclass(frozen=True, slots=True)
class Lineage:
    """The graph adapter, bases, datasets, with everything claimed about each."""

    nodes: tuple[Node, ...]
    """The adapter first."""
    edges: tuple[Edge, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    undisclosed: tuple[str, ...] = ()
    """Keys of nodes that say nothing of their data."""

    def deciding(self) -> Iterator[Node]:
        """The nodes of the conjunction."""
        return (node for node in self.nodes if node.decides)

    def answer(self, grant: str) -> Answer:
        """Whether `grant` is given by every node that decides."""
        return all_of(node.answer(grant) for node in self.deciding())

    def nodes_saying(self, grant: str, answer: Answer) -> tuple[Node, ...]:
        """The deciding nodes whose own answer to `grant` is `answer`."""
        return tuple(node for node in self.deciding() if node.answer(grant) is answer)

    def obligations(self) -> tuple[str, ...]:
        """Codes of everything that some deciding licence asks for, sorted."""
        return tuple(sorted({code for node in self.deciding() if node.licence for code in node.licence.obligations}))

    def restrictions(self) -> tuple[str, ...]:
        """Codes of every restriction on use of some deciding licence, sorted."""
        return tuple(sorted({code for node in self.deciding() if node.licence for code in node.licence.restrictions}))

    def document(self) -> dict[str, Any]:
        """What was claimed, without what our table makes of it: the same claims have the same document."""
        return {
            "nodes": [
                {
                    "node": node.key,
                    "revision": node.revision,
                    "gating": node.gating,
                    "decides": node.decides,
                    "claims": [[claim.source.value, claim.where, claim.stated] for claim in node.claims],
                }
                for node in self.nodes
            ],
            "edges": [[edge.child, edge.parent, edge.relation, *edge.evidence] for edge in self.edges],
        }

    @property
    def digest(self) -> Digest:
        """sha256 of `document`: what a clearance is bound to."""
        return canonical_digest(self.document())


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a repository of the Hub, or the base's own folder, says of itself: read once, kept by content."""

    kind: str
    """model or dataset."""
    id: str
    status: str
    """found, absent, gated (nothing of it was read) or unreachable."""
    revision: str | None = None
    gating: str = "unknown"
    files: Mapping[str, bytes] | None = None
    """README.md and licence texts, by name."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What the consumer declares of everything that comes from one place of its own."""

    match: str
    owner: str
    licence: str | None
    datasets: tuple[str, ...]
    """Ids of the register."""


@dataclass(frozen=True, slots=True)
class Clearance:
    """A person's signed decision that `grant` holds for one artifact although its declarations do not say so."""

    artifact: Digest
    grant: str
    answered: Answer
    """What the declarations said when it was cleared: unknown, or no where the person insisted."""
    lineage: Digest
    """The claims it was decided on; with others it is void."""
    snapshot: Digest | None
    by: str
    reason: str
    at: datetime
    expires: datetime
    keyid: str = ""
    envelope: Digest | None = None

    def holds(self, lineage: Lineage, snapshot: Digest | None, now: datetime) -> bool:
        """Whether it is in force for what is claimed and known now."""
        same = self.lineage == lineage.digest and self.snapshot == snapshot
        return same and self.answered is lineage.answer(self.grant) and self.at <= now < self.expires
