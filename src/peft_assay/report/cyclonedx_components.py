"""Components of a CycloneDX bill: adapters with their model cards, bases, data."""

from collections.abc import Iterator
from typing import Any

from peft_assay.core.artifact import Artifact
from peft_assay.core.digest import hex_of
from peft_assay.core.rights import GRANTS, Answer, Node, NodeKind
from peft_assay.report.figures import SuiteResult, suite_results
from peft_assay.report.interface import BillEntry
from peft_assay.report.package_url import huggingface
from peft_assay.report.scope import NOT_TESTED

Component = dict[str, Any]
_PREFIX = {NodeKind.ADAPTER: "adapter", NodeKind.BASE: "model", NodeKind.DATASET: "data"}


def reference_of(entry: BillEntry, node: Node) -> str:
    """The bom-ref of `node`: by digest for the adapter and the base that is served, else by the name it goes by."""
    if node is served_base(entry):
        return f"model:{entry.base_files}"
    return f"{_PREFIX[node.kind]}:{node.id}"


def served_base(entry: BillEntry) -> Node | None:
    """The node that stands for the base of the context."""
    adapter = entry.lineage.nodes[0]
    below = [edge.parent for edge in entry.lineage.edges if edge.child == adapter.key and edge.relation == "adapts"]
    return next((node for node in entry.lineage.nodes if below and node.key == below[0]), None)


def adapter_component(entry: BillEntry) -> Component:
    """The adapter: its files, licence, lineage, model card, and what was decided."""
    report, node = entry.report, entry.lineage.nodes[0]
    component: Component = {
        "type": "machine-learning-model",
        "bom-ref": reference_of(entry, node),
        "name": report.adapter,
        "version": node.id,
        **_licences(node),
        **({} if entry.package is None else {"purl": entry.package}),
    }
    ancestors = [_ancestor(entry, other) for other in entry.lineage.nodes if other.kind is NodeKind.BASE]
    if ancestors:
        component["pedigree"] = {"ancestors": ancestors}
    if report.certificate is not None:
        envelope = report.certificate.envelope
        component["externalReferences"] = [
            _envelope("attestation", envelope, "certification, a SLSA verification summary")
        ]
    if report.artifact is not None:
        component["components"] = list(_files(report.artifact))
    component["modelCard"] = _model_card(entry)
    component["properties"] = list(_decided(entry))
    return component


def lineage_components(entry: BillEntry) -> Iterator[Component]:
    """Bases and data; what the lineage only knows to be unnamed is left to `compositions`."""
    for node in entry.lineage.nodes[1:]:
        yield _model(entry, node) if node.kind is NodeKind.BASE else _data(entry, node)


def dependencies(entry: BillEntry) -> Iterator[tuple[str, str]]:
    """Pairs of bom-refs: what was made, and from what."""
    by_key = {node.key: reference_of(entry, node) for node in entry.lineage.nodes}
    for edge in entry.lineage.edges:
        yield by_key[edge.child], by_key[edge.parent]


def _model(entry: BillEntry, node: Node) -> Component:
    component = {"bom-ref": reference_of(entry, node), **_ancestor(entry, node)}
    return {**component, "properties": list(_known(node))}


def _ancestor(entry: BillEntry, node: Node) -> Component:
    """A base without its bom-ref: a pedigree repeats components."""
    served = node is served_base(entry)
    version = entry.base_files if served else node.revision
    purl = huggingface(node.id, node.revision)
    return {
        "type": "machine-learning-model",
        "name": node.id,
        **({} if version is None else {"version": version}),
        **_licences(node),
        **({} if purl is None else {"purl": purl}),
    }


def _data(entry: BillEntry, node: Node) -> Component:
    component: Component = {
        "type": "data",
        "bom-ref": reference_of(entry, node),
        "name": node.id,
        **({} if node.revision is None else {"version": node.revision}),
        **_licences(node),
        "data": [{"type": "dataset", "name": node.id}],
    }
    return {**component, "properties": list(_known(node))}


def _licences(node: Node) -> dict[str, Any]:
    """The licence that decides for `node`, where it is one; SPDX identifiers by id, all others by name."""
    licence = node.licence
    if licence is None or not licence.is_one or licence.spdx is None:
        return {}
    said = {"name": licence.spdx} if licence.spdx.startswith("LicenseRef-") else {"id": licence.spdx}
    return {"licenses": [{"license": {**said, "acknowledgement": "declared"}}]}


def _known(node: Node) -> Iterator[dict[str, str]]:
    """Claims and answers, as properties."""
    yield from (_property("claim", f"{claim.where}: {claim.stated}") for claim in node.claims)
    yield from (_property(f"grant:{grant}", node.answer(grant).value) for grant in GRANTS)
    yield _property("decides", "true" if node.decides else "false")
    if node.gating in {"auto", "manual"}:
        yield _property("gated", node.gating)
    if node.problem:
        yield _property("unknown", node.problem)


def _decided(entry: BillEntry) -> Iterator[dict[str, str]]:
    report = entry.report
    yield _property("outcome", report.outcome.value)
    yield _property("source", report.source)
    if report.verdict is not None:
        yield _property("lock", report.verdict.lock)
        yield _property("policy", report.verdict.policy)
    if report.deciding is not None:
        yield _property("rule", report.deciding.rule)
    if report.isolation is not None:
        yield _property("isolation", report.isolation)
    yield _property("attempts", str(report.attempts))
    for grant in GRANTS:
        answer = Answer.YES if grant in entry.cleared else entry.lineage.answer(grant)
        yield _property(f"grant:{grant}", f"{answer.value}{' (cleared)' if grant in entry.cleared else ''}")
    yield from (_property("obligation", code) for code in entry.lineage.obligations())
    yield from (_property("restriction", code) for code in entry.lineage.restrictions())
    yield from (_property("conflict", str(conflict)) for conflict in entry.lineage.conflicts)
    yield from _known(entry.lineage.nodes[0])


def _property(name: str, value: str) -> dict[str, str]:
    return {"name": f"peft-assay:{name}", "value": value}


def _files(artifact: Artifact) -> Iterator[Component]:
    for file in artifact.files:
        hashed = [{"alg": "SHA-256", "content": hex_of(file.sha256)}]
        yield {"type": "file", "name": file.path, "hashes": hashed}


def _envelope(kind: str, digest: str, comment: str) -> dict[str, Any]:
    hashed = [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}]
    return {"type": kind, "url": f"peft-assay:envelope:{digest}", "comment": comment, "hashes": hashed}


def _model_card(entry: BillEntry) -> dict[str, Any]:
    report = entry.report
    data = [reference_of(entry, node) for node in _trained_on(entry)]
    suites = () if report.observations is None else suite_results(report.observations)
    metrics = [metric for suite in suites for metric in _metrics(suite)]
    return {
        "modelParameters": {"task": report.title, **({"datasets": [{"ref": ref} for ref in data]} if data else {})},
        **({"quantitativeAnalysis": {"performanceMetrics": metrics}} if metrics else {}),
        "considerations": {
            "useCases": [report.title],
            "technicalLimitations": [f"not tested: {what}" for what in NOT_TESTED],
        },
    }


def _trained_on(entry: BillEntry) -> Iterator[Node]:
    adapter = entry.lineage.nodes[0]
    named = {edge.parent for edge in entry.lineage.edges if edge.child == adapter.key and edge.relation == "trained-on"}
    return (node for node in entry.lineage.nodes if node.key in named)


def _metrics(suite: SuiteResult) -> Iterator[dict[str, Any]]:
    if suite.rate is None:
        return
    slice_ = f"suite {suite.suite}, n = {suite.n}"
    bounds = {"lowerBound": _number(suite.lower), "upperBound": _number(suite.upper)}
    yield _metric("pass rate, exact one-sided 95 % bounds (Clopper-Pearson)", suite.rate, slice_, bounds)
    if suite.base_rate is not None:
        yield _metric("pass rate of the base without the adapter", suite.base_rate, slice_, {})
    if suite.difference is not None:
        paired = {"lowerBound": _number(suite.difference_lower)}
        yield _metric("paired difference from the base, one-sided 95 % bound", suite.difference, slice_, paired)


def _metric(kind: str, value: float, slice_: str, bounds: dict[str, str | None]) -> dict[str, Any]:
    known = {name: bound for name, bound in bounds.items() if bound is not None}
    interval = {"confidenceInterval": known} if known else {}
    return {"type": kind, "value": _number(value), "slice": slice_, **interval}


def _number(value: float | None) -> str | None:
    return None if value is None else repr(round(value, 6))
