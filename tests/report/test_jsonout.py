"""JSON renderings: stable keys, exact values, one printable ASCII document."""

import json

import pytest

from peft_assay.report import jsonout
from report.report_support import every_outcome, refused, report
from report.test_html import HOSTILE, hostile_report
from report.test_terminal import inspected, verified


def test_certification() -> None:
    document = json.loads(jsonout.certification(every_outcome()))
    assert {entry["format"] for entry in document} == {"peft-assay/report/v1"}
    entries = {entry["adapter"]: entry for entry in document}
    assert {name: (e["outcome"], e["door"], e["decidingRule"]) for name, e in entries.items()} == {
        "lora": ("PASS", 0, None),
        "rare-token": ("FAIL", 10, "trigger-scan"),
        "regressed": ("FAIL", 10, "task"),
        "pickle-weights": ("FAIL", 10, "pickle"),
        "no-licence": ("INDETERMINATE", 13, "rights"),
        "escaping-symlink": ("REFUSED", 3, None),
    }
    assert entries["lora"]["certificate"]["notAfter"] == "2026-04-03T05:06:07Z"
    assert entries["regressed"]["certificate"] is None
    assert entries["escaping-symlink"]["rules"] == []
    assert entries["escaping-symlink"]["nextStep"] == "copy the files: cp -rL adapters/escaping-symlink copy"


def test_rules_carry_what_they_saw() -> None:
    made = report("rare-token", {"scan.triggers": ("zq042",)})
    entry = json.loads(jsonout.certification([made]))[0]
    rule = next(rule for rule in entry["rules"] if rule["id"] == "trigger-scan")
    assert rule["outcome"] == "FAIL"
    assert rule["saw"] == {"scan.tokens": 120, "scan.triggers": ["zq042"]}
    assert "zq042" in rule["explanation"]
    assert entry["artifact"]["digest"] == made.artifact.digest  # type: ignore[union-attr]
    assert [file["path"] for file in entry["artifact"]["files"]] == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert entry["lock"].startswith("sha256:")


def test_nothing_examined_never_reads_as_passed() -> None:
    assert json.loads(jsonout.certification([])) == []


def test_verification() -> None:
    good = json.loads(jsonout.verification([verified(valid=True)]))[0]
    assert (good["valid"], good["door"], good["check"]) == (True, 0, None)
    bad = json.loads(jsonout.verification([verified(valid=False)]))[0]
    assert (bad["valid"], bad["door"], bad["check"], bad["certificate"]) == (False, 12, "bytes", None)


def test_inspection() -> None:
    document = json.loads(jsonout.inspection([inspected()], listed=False))
    assert document["kind"] == "PEFT adapter (LORA)"
    assert [(o["name"], o["status"]) for o in document["observations"]] == [
        ("weights.pickle_files", "ok"),
        ("weights.canonical", "failed"),
        ("config.strict", "ok"),
    ]


@pytest.mark.parametrize("text", [*HOSTILE, "\x7f\x80\udfff", "\u2028"])
def test_hostile_text_arrives_whole_and_shows_nothing(text: str) -> None:
    encodable = text.encode("utf-8", "replace").decode()
    for rendered in (
        jsonout.certification([hostile_report(encodable), refused(text, text)]),
        jsonout.inspection([inspected(encodable)], listed=True),
        jsonout.verification([verified(valid=False, text=text)]),
    ):
        assert not [c for c in rendered if c != "\n" and not " " <= c <= "~"]
        json.loads(rendered)
    assert json.loads(jsonout.certification([refused(text, text)]))[0]["adapter"] == text
