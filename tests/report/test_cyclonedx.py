"""The bill of materials is CycloneDX 1.6 by the library's strict validator, and invents nothing."""

import dataclasses
import json
from datetime import timedelta

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from peft_assay.core.digest import sha256
from peft_assay.core.errors import UsageError
from peft_assay.core.rights import Claim, ClaimSource, Conflict, Edge, Lineage, Node, NodeKind
from peft_assay.core.verdict import Outcome
from peft_assay.core.waiver import Waiver
from peft_assay.observe.static.licences import find_licence
from peft_assay.observe.static.tables import licence_table
from peft_assay.report.cyclonedx import bill, render_cyclonedx
from peft_assay.report.interface import BillEntry
from peft_assay.report.package_url import huggingface
from report.report_support import NOW, report

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HOSTILE = "org/na\x1b[2J\u202e<script>me"


def claims(identifier):
    return (Claim(ClaimSource.CARD, "README.md: license", identifier, find_licence(identifier)),)


def lineage_of(artifact, *, licence="apache-2.0", data="org/data", base="org/base", base_licence="llama3.1"):
    adapter = Node(NodeKind.ADAPTER, artifact, claims(licence))
    served = Node(NodeKind.BASE, base, claims(base_licence), revision=COMMIT)
    root = Node(NodeKind.BASE, "org/root", (), decides=False, problem="nobody was asked about it")
    dataset = Node(NodeKind.DATASET, data, claims("cc-by-4.0"), gating="auto")
    nodes = (adapter, dataset, served, root)
    edges = (
        Edge(adapter.key, dataset.key, "trained-on", ()),
        Edge(adapter.key, served.key, "adapts", ()),
        Edge(served.key, root.key, "finetune", ()),
    )
    return Lineage(nodes, edges, (Conflict("looser", "than the base's"),), (root.key, served.key))


def entry(name="lora", change=None, unseen=None, *, package=None, cleared=(), **lineage):
    made = report(name, change, unseen, paths=("README.md", f"{sha256(name.encode())[7:15]}.safetensors"))
    if made.certificate is not None:
        made = dataclasses.replace(
            made, certificate=dataclasses.replace(made.certificate, envelope=sha256(name.encode()))
        )
    return BillEntry(
        report=made, lineage=lineage_of(made.artifact.digest, **lineage), cleared=frozenset(cleared),
        base_files=sha256(b"base files"), observation=sha256(f"{name} observed".encode()), policy_id="default", package=package,
    )  # fmt: skip


def waived():
    made = entry("waived", {"reach.full_weights": ("score",)})
    verdict = made.report.verdict
    waiver = Waiver(
        verdict.artifact, "reach", sha256(b"r"), sha256(b"c"), {"reach.full_weights": ("score",)}, "Risk", HOSTILE, NOW,
        NOW + timedelta(days=9), "k", sha256(b"waiver"),
    )  # fmt: skip
    results = tuple(
        dataclasses.replace(r, outcome=Outcome.WAIVED, waiver=waiver.envelope) if r.rule == "reach" else r
        for r in verdict.results
    )
    changed = dataclasses.replace(made.report, verdict=dataclasses.replace(verdict, results=results), waivers=(waiver,))
    return dataclasses.replace(made, report=changed)


def validated(*entries):
    text = render_cyclonedx(entries, version="0.1.0")
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert problem is None, problem
    return json.loads(text)


def references(node, kind="bom-ref"):
    """Every value of `kind` in the document."""
    if isinstance(node, dict):
        found = [node[kind]] if kind in node else []
        return found + [ref for child in node.values() for ref in references(child, kind)]
    return [ref for child in node for ref in references(child, kind)] if isinstance(node, list) else []


def component(document, start):
    (found,) = [item for item in document["components"] if item["bom-ref"].startswith(start)]
    return found


ENTRIES = {
    "a pass": lambda: [entry()],
    "a fail": lambda: [entry("bad", {"scan.triggers": ("zq",)})],
    "indeterminate": lambda: [entry("open", None, {"rights.grants.commercial": "nobody said"})],
    "waived": lambda: [waived()],
    "hostile": lambda: [entry(HOSTILE, data=HOSTILE, base=HOSTILE, licence="none of these")],
    "no lineage": lambda: [dataclasses.replace(entry(), lineage=Lineage(entry().lineage.nodes[:1]))],
    "several": lambda: [entry(), entry("bad", {"scan.triggers": ("zq",)}), waived()],
}


@pytest.mark.parametrize("what", ENTRIES)
def test_it_is_valid_and_every_reference_leads_somewhere(what):
    document = validated(*ENTRIES[what]())
    made = references(document)
    assert len(made) == len(set(made)), "every bom-ref once"
    used = [r for d in document["dependencies"] for r in (d["ref"], *d["dependsOn"])]
    used += references(document, "ref")
    used += [r for c in document["declarations"]["claims"] for r in (c["target"], *c["evidence"])]
    for attestation in document["declarations"]["attestations"]:
        used.append(attestation["assessor"])
        for item in attestation["map"]:
            used += [item["requirement"], *item.get("claims", ()), *item.get("counterClaims", ())]
            used += item.get("conformance", {}).get("mitigationStrategies", ())
    used += [r for c in document.get("compositions", ()) for r in c["assemblies"]]
    assert set(used) <= set(made)


def test_lineage_licences_and_how_it_behaved():
    document = validated(entry(package=huggingface("org/adapter", COMMIT)))
    adapter = component(document, "adapter:")
    assert adapter["licenses"] == [{"license": {"id": "Apache-2.0", "acknowledgement": "declared"}}]
    assert PackageURL.from_string(adapter["purl"]).to_dict() == {
        "type": "huggingface", "namespace": "org", "name": "adapter", "version": COMMIT, "qualifiers": None, "subpath": None,
    }  # fmt: skip
    assert [ancestor["name"] for ancestor in adapter["pedigree"]["ancestors"]] == ["org/base", "org/root"]
    base = component(document, "model:sha256:")
    assert base["licenses"] == [{"license": {"name": "LicenseRef-llama3.1", "acknowledgement": "declared"}}]
    assert base["purl"] == f"pkg:huggingface/org/base@{COMMIT}"
    data = component(document, "data:")
    assert (data["type"], data["data"]) == ("data", [{"type": "dataset", "name": "org/data"}])
    assert {"name": "peft-assay:gated", "value": "auto"} in data["properties"]
    assert adapter["modelCard"]["modelParameters"]["datasets"] == [{"ref": "data:org/data"}]
    metrics = adapter["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    (task,) = [
        m for m in metrics if m["slice"] == "suite support_task, n = 80" and m["type"].startswith("pass rate, exact")
    ]
    assert task["value"] == "0.975"
    assert task["confidenceInterval"] == {"lowerBound": "0.923", "upperBound": "0.9955"}
    (paired,) = [m for m in metrics if m["slice"].startswith("suite lookups") and "paired" in m["type"]]
    assert paired["confidenceInterval"] == {"lowerBound": "-0.2459"}
    assert document["compositions"] == [
        {"aggregate": "incomplete", "assemblies": sorted([base["bom-ref"], "model:org/root"])}
    ]


def test_what_nobody_declared_has_no_licence_here():
    for licence in ("other", "cc", "none of these", "unknown", "openrail"):
        document = validated(entry(licence=licence, base_licence=licence))
        assert "licenses" not in component(document, "adapter:"), licence
        assert "licenses" not in component(document, "model:sha256:"), licence
    assert "licenses" not in component(document, "model:org/root")


def test_every_licence_of_the_table_is_one_that_the_schema_knows_or_a_name():
    made = entry()
    data = [Node(NodeKind.DATASET, f"org/{identifier}", claims(identifier)) for identifier in licence_table().licences]
    document = validated(dataclasses.replace(made, lineage=Lineage((made.lineage.nodes[0], *data))))
    listed = [item for item in document["components"] if "licenses" in item]
    assert len(listed) == 1 + sum(node.licence.is_one for node in data)


def test_what_was_decided_is_a_claim_a_counter_claim_or_nothing():
    document = validated(*ENTRIES["several"](), entry("open", None, {"rights.grants.commercial": "nobody said"}))
    by_adapter = {a["summary"].split(":")[0]: a["map"] for a in document["declarations"]["attestations"]}
    rule = lambda name, rule: next(m for m in by_adapter[name] if m["requirement"].endswith(f":{rule}"))  # noqa: E731
    assert rule("lora", "task")["conformance"]["score"] == 1
    assert rule("lora", "task")["claims"]
    failed = rule("bad", "trigger-scan")
    assert (failed["conformance"]["score"], "claims" in failed, len(failed["counterClaims"])) == (0, False, 1)
    accepted = rule("waived", "reach")
    assert accepted["conformance"]["mitigationStrategies"] == [f"waiver:{sha256(b'waiver')}"]
    undecided = rule("open", "rights")
    assert undecided["confidence"]["score"] == 0
    assert not {"claims", "counterClaims", "conformance"} & set(undecided)
    assert len(document["definitions"]["standards"]) == 1, "one policy, one standard"


def test_hostile_text_stays_text():
    text = render_cyclonedx([entry(HOSTILE, data=HOSTILE)], version="0.1.0")
    assert text.isascii()
    assert "\x1b" not in text
    assert component(json.loads(text), "data:")["name"] == HOSTILE, "and nothing of it is lost"


def test_the_same_entries_give_the_same_bill_and_others_another():
    first, again, other = (bill(entries, version="0.1.0") for entries in ([entry()], [entry()], [waived()]))
    assert first == again
    assert first["serialNumber"] != other["serialNumber"]


def test_nothing_judged_is_no_bill():
    with pytest.raises(UsageError, match="nothing to list"):
        render_cyclonedx([], version="0.1.0")


@pytest.mark.parametrize(
    ("repository", "commit"),
    [("org/name", None), ("org/name", "main"), ("org/name", COMMIT.upper()), ("name", COMMIT), ("./models", COMMIT),
     ("/opt/models", COMMIT), ("org/na me", COMMIT), ("org/name@x", COMMIT), ("a/b/c", COMMIT), ("", COMMIT)],
)  # fmt: skip
def test_what_is_no_pinned_repository_has_no_package_url(repository, commit):
    assert huggingface("org/name", COMMIT) == f"pkg:huggingface/org/name@{COMMIT}"
    assert huggingface(repository, commit) is None
