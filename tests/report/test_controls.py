"""Evidence by control: every field is one that a report has, and the wording claims nothing."""

import dataclasses
import json

import pytest
import yaml

from peft_assay.core.errors import DocumentError
from peft_assay.report.control_map import FIELDS, evidence_given, read_control_map
from peft_assay.report.controls_text import controls_document, controls_text
from peft_assay.report.html import render_html
from report.report_support import report
from report.test_cyclonedx import HOSTILE, waived

OURS = read_control_map(None, "controls")


def test_ours_names_the_four_frameworks_and_says_that_somebody_has_to_check():
    assert set(OURS.frameworks) == {"eu-ai-act", "nist-ai-rmf", "iso-42001", "soc-2"}
    assert all(set(row.relevant) == set(OURS.frameworks) for row in OURS.evidence)
    assert "has to check" in OURS.note
    assert "no statement that any of them is met" in OURS.note


@pytest.mark.parametrize("what", ["text", "json", "html"])
def test_nothing_we_print_says_compliant(what):
    reports = [report(), waived().report]
    said = {
        "text": lambda: controls_text(OURS, reports),
        "json": lambda: json.dumps(controls_document(OURS, reports)),
        "html": lambda: render_html(reports, controls=OURS),
    }[what]()
    assert "compliant" not in said.lower()
    assert "vidence relevant to" in said or "evidenceRelevantTo" in said


def test_each_field_is_given_for_what_passed_and_read_by_some_row():
    values = {name: value for given in evidence_given(OURS, report()) for name, value in given.values.items()}
    missing = {name for name, value in values.items() if value is None and not name.startswith("observation.")}
    assert missing <= {"lock.labels"}, "what this report's lock does not have"
    assert set(FIELDS) <= set(values)
    assert values["suites"].startswith("lookups: 52 of 60, at least 0.772 (95 %)")
    assert values["waivers"] == "none"


def test_waivers_are_evidence_and_what_is_missing_is_said():
    document = controls_document(OURS, [waived().report, report("bad", {"scan.triggers": ("zq",)})])
    first, second = document["adapters"]
    by_id = {item["id"]: item for item in first["evidence"]}
    assert by_id["approval"]["fields"]["waivers"].startswith("reach by Risk until ")
    fields = {item["id"]: item["fields"] for item in second["evidence"]}
    assert fields["validity"]["certificate.notAfter"] is None
    assert "certificate.notAfter = nothing" in controls_text(OURS, [report("bad", {"scan.triggers": ("zq",)})])


def test_hostile_text_is_shown_as_text():
    made = dataclasses.replace(waived().report, adapter=HOSTILE)
    text, page = controls_text(OURS, [made]), render_html([made], controls=OURS)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "<script>me" not in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "Policy"}, "kind"),
        ({"note": ""}, "note"),
        ({"more": 1}, "more"),
        ({"evidence": []}, "evidence"),
        (
            {"evidence": [{"id": "a", "what": "w", "fields": ["nothing.such"], "relevant": {"x": ["1"]}}]},
            "no 'nothing.such'",
        ),
        (
            {"evidence": [{"id": "a", "what": "w", "fields": ["observation.nope"], "relevant": {"x": ["1"]}}]},
            "observation.nope",
        ),
        ({"evidence": [{"id": "a", "what": "w", "fields": ["outcome"], "relevant": {"y": ["1"]}}]}, "y is not among"),
        ({"evidence": [{"id": "a", "what": "w", "fields": ["outcome"], "relevant": {"x": [1]}}]}, "relevant"),
        (
            {"evidence": [{"id": "a", "what": w, "fields": ["outcome"], "relevant": {"x": ["1"]}} for w in "vw"]},
            "twice",
        ),
    ],
)
def test_an_edited_map_is_checked_before_anything_is_printed(change, said):
    good = {
        "apiVersion": "peft-assay/v1", "kind": "ControlMap", "version": "mine", "note": "n", "frameworks": {"x": "X"},
        "evidence": [{"id": "a", "what": "w", "fields": ["outcome"], "relevant": {"x": ["1.2"]}}],
    }  # fmt: skip
    assert read_control_map(yaml.safe_dump(good).encode(), "mine.yaml").version == "mine"
    with pytest.raises(DocumentError, match=said):
        read_control_map(yaml.safe_dump(good | change).encode(), "mine.yaml")
