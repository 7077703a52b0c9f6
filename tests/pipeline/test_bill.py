"""The bill of materials and the evidence by control of a project as it stands, by the command line."""

import json

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from peft_assay.core.errors import Door
from pipeline.certified_world import ADAPTERS


def test_a_bill_of_everything_that_was_judged(world):
    done = world.run("report", "--format", "cyclonedx")
    assert (done.code, done.out) == (Door.PASSED, "4 adapters, written to bom.cdx.json\n")
    text = (world.project / "bom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document = json.loads(text)
    by_name = {item["name"]: item for item in document["components"]}
    assert set(ADAPTERS) <= set(by_name)
    models = [item for item in document["components"] if item["bom-ref"].startswith("model:sha256:")]
    assert len(models) == 1, "one base, whatever its adapters call it"
    assert models[0]["licenses"] == [{"license": {"id": "Apache-2.0", "acknowledgement": "declared"}}]
    assert "licenses" not in by_name["no-licence"]
    assert by_name["lora"]["licenses"][0]["license"]["id"] == "Apache-2.0"
    assert by_name["zoo/support-dialogues"]["type"] == "data"
    metrics = by_name["lora"]["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {metric["slice"].split(",")[0] for metric in metrics} == {
        "suite lookups", "suite refusals", "suite support_task"
    }  # fmt: skip
    assert "quantitativeAnalysis" not in by_name["pickle-weights"]["modelCard"], "it was never run"
    code, verified = world.verify()
    assert code == Door.PASSED
    listed = {evidence["bom-ref"] for evidence in document["declarations"]["evidence"]}
    assert f"certificate:{verified['certificate']['envelope']}" in listed


def test_a_bill_of_one_goes_to_standard_output_when_asked(world):
    done = world.run("report", world.adapter("lora"), "--format", "cyclonedx", "-o", "-")
    assert done.code == Door.PASSED
    document = json.loads(done.out)
    assert [item["name"] for item in document["components"] if item["bom-ref"].startswith("adapter:")] == ["lora"]


def test_evidence_by_control(world, tmp_path):
    text = world.run("report", world.adapter("lora"), "--controls").out
    assert "somebody has to check" in text
    assert "evidence relevant to Regulation (EU) 2024/1689 (AI Act), by article: 26(1), 26(5)" in text
    assert not (world.project / "report.html").exists(), "it prints, and writes nothing"
    document = world.json("report", "--controls").document
    assert sorted(item["adapter"] for item in document["adapters"]) == sorted(ADAPTERS)
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "apiVersion: peft-assay/v1\nkind: ControlMap\nversion: ours\nnote: ours\nframeworks: {bank: House rules}\n"
        "evidence:\n  - {id: a, what: who, fields: [certificate.keyid], relevant: {bank: [R1]}}\n"
    )
    text = world.run("report", world.adapter("lora"), "--controls", "--control-map", str(mine)).out
    assert "evidence relevant to House rules: R1" in text
    mine.write_text(mine.read_text().replace("certificate.keyid", "certificate.colour"))
    refused = world.run("report", "--controls", "--control-map", str(mine))
    assert refused.code == Door.USAGE
    assert "a report has no 'certificate.colour'" in refused.err


def test_what_does_not_fit_together_is_a_usage_error(world):
    for arguments in (("--format", "cyclonedx", "--controls"), ("--format", "json", "-o", "-")):
        done = world.run("report", *arguments)
        assert done.code == Door.USAGE
        assert "next: " in done.err or "nextStep" in done.out
