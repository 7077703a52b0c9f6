"""The lineage of one adapter: adapter, its data, its base, what that was made of; each with every claim about it.

Made from bytes at hand only: the adapter's own files, the context's registers and declarations, the base's folder, and
metadata that was snapshotted before. A base's licence decides for the base: what the base was trained on is reported,
and is not part of the conjunction, because nobody discloses all of it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from peft_assay.core.content import Content
from peft_assay.core.digest import sha256
from peft_assay.core.rights import Answer, Claim, ClaimSource, Edge, Lineage, Metadata, Node, NodeKind
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.base_names import canonical, is_place
from peft_assay.observe.static.conflicts import conflicts
from peft_assay.observe.static.files import is_licence
from peft_assay.observe.static.front_matter import front_matter, metadata_of
from peft_assay.observe.static.licence_doubts import doubts
from peft_assay.observe.static.licence_text import candidates
from peft_assay.observe.static.licences import find_licence, stated_licence
from peft_assay.observe.static.reading import read_document
from peft_assay.observe.static.rights import owned_datasets

MAX_DEPTH = 8
"""Bases of bases; longer chains are cut, and their end is unknown."""
MAX_NAMES = 64
"""Bases or datasets of one card; a hostile one may name any number."""
_CUT = 200
UNNAMED_BASE = "(unnamed)"


def lineage(subject: StaticSubject) -> Lineage:
    """Everything that is claimed about `subject` and what it was made from. Never raises for what files say."""
    return _Walk(subject).lineage()


@dataclass(slots=True)
class _Walk:
    subject: StaticSubject
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    undisclosed: list[str] = field(default_factory=list)

    def lineage(self) -> Lineage:
        card, config = readings(self.subject)
        adapter = Node(
            NodeKind.ADAPTER, self.subject.artifact.digest, tuple(_adapter_claims(self.subject, card, config))
        )
        self.nodes[adapter.key] = adapter
        self._own_data(adapter, card)
        named, evidence = _base_names(card, config)
        revision = config.get("revision")
        pinned = revision if isinstance(revision, str) and revision else None
        self._served_base(adapter, named[0] if named else UNNAMED_BASE, evidence, pinned)
        for other in named[1:]:  # another name of the base, or another base: the context's declaration covers the first
            decides = self.subject.context.base_licence is None
            self._ancestor(adapter, other, "adapts", ("README.md: base_model",), depth=1, decides=decides)
        odd = unlisted(card.get("base_model")) + unlisted(config.get("base_model_name_or_path"))
        self._rest(adapter, NodeKind.BASE, "adapts", odd, decides=self.subject.context.base_licence is None)
        made = Lineage(tuple(self.nodes.values()), tuple(self.edges), (), tuple(self.undisclosed))
        return Lineage(made.nodes, made.edges, tuple(conflicts(made, card, config)), made.undisclosed)

    def _own_data(self, adapter: Node, card: Mapping[str, Any]) -> None:
        owned = owned_datasets(self.subject)
        stated = texts(card.get("datasets"))
        for name in dict.fromkeys((*owned, *stated)):
            self._dataset(adapter, name, (owned.get(name, "README.md: datasets"),), decides=True)
        self._rest(adapter, NodeKind.DATASET, "trained-on", unlisted(card.get("datasets")), decides=True)
        if not owned and not stated:
            node = Node(NodeKind.DATASET, "(undeclared)", problem="nobody says what it was trained on")
            self._link(adapter, node, "trained-on", ())
            self.undisclosed.append(adapter.key)

    def _dataset(self, child: Node, name: str, evidence: tuple[str, ...], *, decides: bool) -> None:
        known = self.subject.context.metadata.get(("dataset", name))
        claims = [*_registered(self.subject.context.datasets.get(name)), *_claims_of(known)]
        node = Node(NodeKind.DATASET, label(name), tuple(claims), decides=decides, **_state(known, name))
        self._link(child, node, "trained-on", evidence)

    def _served_base(self, adapter: Node, name: str, evidence: tuple[str, ...], revision: str | None) -> None:
        """The base of the context: what the adapter calls it is a name for it, what the context declares decides."""
        context = self.subject.context
        known = context.metadata.get(("model", name)) or context.base_metadata
        declared = [] if context.base_licence is None else [_declared(context.base_licence, "peft-assay.yaml: base")]
        own = _claims_of(context.base_metadata) if context.base_metadata is not known else ()
        node = Node(
            NodeKind.BASE, label(name), (*declared, *_claims_of(known), *own),
            **{**_state(known, name), **({} if revision is None else {"revision": revision})},
        )  # fmt: skip
        self._link(adapter, node, "adapts", evidence)
        self._up(node, known, depth=1, decides=not declared)

    def _ancestor(
        self, child: Node, name: str, relation: str, evidence: tuple[str, ...], *, depth: int, decides: bool
    ) -> None:
        known = self.subject.context.metadata.get(("model", name))
        node = Node(NodeKind.BASE, label(name), tuple(_claims_of(known)), decides=decides, **_state(known, name))
        if not node.decides and node.answer("commercial") is Answer.NO:
            # The context declares the base's licence; an ancestor's plain no stands against that.
            node = replace(node, decides=True)
        if self._link(child, node, relation, evidence):
            self._up(node, known, depth=depth + 1, decides=decides)

    def _up(self, node: Node, known: Metadata | None, *, depth: int, decides: bool) -> None:
        """What a base's own card says it was made from."""
        card = card_of(known)
        relation = card.get("base_model_relation")
        made = relation if isinstance(relation, str) and len(relation) < 40 else "derived-from"
        above = texts(card.get("base_model"))
        for name in above if depth <= MAX_DEPTH else ():
            self._ancestor(node, name, made, ("README.md: base_model",), depth=depth, decides=decides)
        left = unlisted(card.get("base_model")) + (0 if depth <= MAX_DEPTH else len(above))
        self._rest(node, NodeKind.BASE, made, left, decides=decides)
        named = texts(card.get("datasets"))
        for name in named:
            self._dataset(node, name, ("README.md: datasets",), decides=False)
        if not named:
            self.undisclosed.append(node.key)

    def _rest(self, child: Node, kind: NodeKind, relation: str, count: int, *, decides: bool) -> None:
        """One node that nobody knows, for what cannot be looked up: a cut list must not read as a whole one."""
        if count:
            what = "item that is no name, or beyond what is looked at"
            node = Node(kind, f"({count} more of {child.key[:60]})", decides=decides, problem=f"{count} {what}")
            self._link(child, node, relation, ())

    def _link(self, child: Node, node: Node, relation: str, evidence: tuple[str, ...]) -> bool:
        """Adds `node` below `child`; False when it is there already (a cycle, or two ways to one node)."""
        self.edges.append(Edge(child.key, node.key, relation, evidence))
        met = self.nodes.get(node.key)
        if met is not None:
            if node.decides and not met.decides:  # whichever way decides, decides
                self.nodes[node.key] = replace(met, decides=True)
            return False
        self.nodes[node.key] = node
        return True


def readings(subject: StaticSubject) -> tuple[dict[str, Any], dict[str, Any]]:
    """Card metadata and configuration as far as each has one reading; empty where it has none."""
    return _or_nothing(front_matter, subject.files), _or_nothing(read_document, subject.files)


def _or_nothing(read: Any, files: Mapping[str, Content]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read(files)
    except Unreadable:
        return {}
    return found


def card_of(known: Metadata | None) -> dict[str, Any]:
    """The metadata of a snapshotted card; empty where there is none or it has no single reading."""
    content = None if known is None or known.files is None else known.files.get("README.md")
    try:
        return {} if content is None else metadata_of(content)
    except Unreadable:
        return {}


def label(name: str) -> str:
    """`name` as a node's id; long ones keep a hash, or two that begin alike would be one node."""
    return name if len(name) <= _CUT else f"{name[:_CUT]}#{sha256(name.encode())[7:23]}"


def texts(value: Any) -> tuple[str, ...]:
    """Names in a field that holds one or several, at most MAX_NAMES; see `unlisted` for what else is in it."""
    values = [value] if isinstance(value, str) else value
    named = values if isinstance(values, list) else []
    return tuple(dict.fromkeys(item for item in named if isinstance(item, str) and item.strip()))[:MAX_NAMES]


def unlisted(value: Any) -> int:
    """How many items of such a field `texts` leaves out: none of them a name that can be looked up."""
    if not isinstance(value, list):
        return 0 if value is None or isinstance(value, str) else 1
    named = {item for item in value if isinstance(item, str) and item.strip()}
    odd = sum(not (isinstance(item, str) and item.strip()) for item in value)
    return odd + max(0, len(named) - MAX_NAMES)


def _base_names(card: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What configuration and card call the base, the configuration's first, and where each says so."""
    configured, stated = texts(config.get("base_model_name_or_path")), texts(card.get("base_model"))
    where = [
        *(["adapter_config.json: base_model_name_or_path"] if configured else []),
        *(["README.md: base_model"] if stated else []),
    ]
    return _distinct(dict.fromkeys((*configured, *stated))), tuple(where)


def _distinct(named: Iterable[str]) -> tuple[str, ...]:
    """Return names to look up, each in the first of its spellings; paths only where there is no other name."""
    names = list(named)
    ids = [name for name in names if not is_place(name)] or names
    return tuple(name for at, name in enumerate(ids) if canonical(name) not in map(canonical, ids[:at]))


def _adapter_claims(subject: StaticSubject, card: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Claim]:
    context = subject.context
    override = context.licence_overrides.get(subject.artifact.digest)
    if override is not None:
        yield _declared(override, "peft-assay.yaml: rights.declared")
    if context.declaration is not None and context.declaration.licence is not None:
        raw = context.declaration.licence
        yield Claim(ClaimSource.FLEET, "peft-assay.yaml: declarations", raw, find_licence(raw))
    yield from _stated(card.get("license"), ClaimSource.CARD, "README.md: license")
    yield from _stated(config.get("license"), ClaimSource.CONFIG, "adapter_config.json: license")
    stated = texts(card.get("license"))
    own = stated_licence(stated)
    if own is not None:  # as strong as the card's own word, so that neither decides
        for where, said in doubts(subject.files, card, own):
            yield Claim(ClaimSource.CARD, where[:_CUT], said[:_CUT], find_licence(said))
    yield from _recognised({path: file.body for path, file in subject.files.items() if file.body is not None})


def _claims_of(known: Metadata | None) -> tuple[Claim, ...]:
    if known is None or known.files is None:
        return ()
    card = card_of(known)
    where = f"{known.id[:_CUT]}: README.md"
    return (*_stated(card.get("license"), ClaimSource.CARD, where), *_recognised(known.files))


def _registered(licence: str | None) -> Iterator[Claim]:
    if licence is not None:
        yield _declared(licence, "peft-assay.yaml: rights.datasets")


def _declared(licence: str, where: str) -> Claim:
    return Claim(ClaimSource.DECLARED, where, licence, find_licence(licence))


def _stated(value: Any, source: ClaimSource, where: str) -> Iterator[Claim]:
    """One claim for the field where the table knows all that it names; else one for each, of which none decides."""
    stated = texts(value)
    together = None if unlisted(value) else stated_licence(stated)
    if together is not None:
        yield Claim(source, where, ", ".join(stated)[:_CUT], together)
        return
    for identifier in stated:
        yield Claim(source, where, identifier[:_CUT], find_licence(identifier))
    if unlisted(value):
        yield Claim(source, where, f"({unlisted(value)} items that are no identifier)", None)


def _recognised(files: Mapping[str, bytes]) -> Iterator[Claim]:
    for path in sorted(files):
        if is_licence(path):
            for candidate in candidates(files[path]):
                where = f"{path[:_CUT]} ({candidate.how})"
                yield Claim(ClaimSource.TEXT, where, candidate.licence, find_licence(candidate.licence))


def _state(known: Metadata | None, name: str) -> dict[str, Any]:
    if name == UNNAMED_BASE:
        return {"problem": "nobody names it"}
    if is_place(name):
        return {"problem": "it is a path on somebody's machine"}
    if known is None:
        return {"problem": "nobody was asked about it (peft-assay rights snapshot)"}
    problem = "" if known.status == "found" else f"its repository is {known.status}"
    return {"revision": known.revision, "gating": known.gating, "problem": problem}
