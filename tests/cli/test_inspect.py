"""`inspect` on real adapters: what is told, in every format, and the exit codes."""

import json
import os
import shutil
from pathlib import Path

import pytest

from cli.command_line import ZOO, say

WILD = Path(os.environ.get("PEFT_ASSAY_WILD") or Path(__file__).parents[3] / "shared" / "wild")
PUBLISHED = sorted(path for path in WILD.iterdir() if path.is_dir()) if WILD.is_dir() else []

GOOD = ("dora", "ia3", "lora", "prefix", "prompt", "ptuning", "rslora")
BLOCKED = {
    "absurd-rank": "bounds.exceeded",
    "nan-weights": "weights.nonfinite",
    "overwrites-lm-head": "weights.undeclared",
    "pickle-weights": "weights.pickle_files",
    "rewrites-base": "config.base_rewrites",
}


def blocking(document):
    return [finding["rule"] for finding in document["findings"] if finding["severity"] == "block"]


@pytest.mark.parametrize("name", GOOD)
def test_nothing_blocks_a_good_adapter(name):
    said = say("inspect", "--format", "json", "--fail-on", "block", ZOO / name)
    assert said.code == 0
    assert blocking(said.document) == []
    assert len(said.document["clean"]) >= 10


@pytest.mark.parametrize(("name", "rule"), BLOCKED.items())
def test_what_is_wrong_with_a_bad_one_is_told_with_file_rule_and_next_step(name, rule):
    said = say("inspect", "--format", "json", "--fail-on", "block", ZOO / name)
    assert said.code == 10
    assert rule in blocking(said.document)
    finding = next(finding for finding in said.document["findings"] if finding["rule"] == rule)
    assert finding["places"][0]["file"] in [file["path"] for file in said.document["artifact"]["files"]]
    assert finding["nextStep"]


def test_text_says_first_what_it_is():
    first, second, *_ = say("inspect", ZOO / "lora").out.splitlines()
    assert first.startswith(f"{ZOO / 'lora'}: a PEFT adapter: LORA r=8 lora_alpha=16 on down_proj, q_proj")
    assert "for base zoo/base; 46,592 parameters in 32 tensors, 3 files, 192,231 bytes" in first
    assert second.startswith("  artifact sha256:")


def test_text_says_that_nothing_was_found_and_what_was_not_asked():
    out = say("inspect", ZOO / "lora").out
    assert "\n  nothing suspicious found in " in out
    assert "not asked without a project (peft-assay init): " in out
    assert "blocks" not in out


def test_all_lists_every_value():
    out = say("inspect", "--all", ZOO / "lora").out
    assert "  bounds.max_rank: 8\n" in out
    assert "  weights.pickle_files: []\n" in out


@pytest.mark.parametrize("level", ["block", "look", "never"])
def test_a_finding_is_an_exit_code_only_where_it_was_asked_for(level):
    assert say("inspect", "--fail-on", level, ZOO / "pickle-weights").code == (0 if level == "never" else 10)


def test_several_sources_are_told_in_turn_and_a_refused_one_stops_nothing():
    names = ("lora", "escaping-symlink", "rslora")
    said = say("inspect", "--format", "json", *(ZOO / name for name in names))
    assert said.code == 3
    assert [entry["door"] for entry in said.document] == [0, 3, 0]
    assert said.document[1]["error"]["nextStep"]
    text = say("inspect", *(ZOO / name for name in names)).out
    assert text.count("a PEFT adapter: LORA") == 2
    assert "escaping-symlink: refused, nothing of it was examined" in text


def test_one_source_is_one_document_and_a_refused_one_an_error():
    assert isinstance(say("inspect", "--format", "json", ZOO / "lora").document, dict)
    said = say("inspect", "--format", "json", ZOO / "escaping-symlink")
    assert (said.code, said.document["door"]) == (3, 3)
    assert say("inspect", "gone").code == 3


def test_sarif_of_several_sources_is_one_run():
    said = say("inspect", "--format", "sarif", ZOO / "pickle-weights", ZOO / "escaping-symlink")
    assert said.code == 3
    (run,) = said.document["runs"]
    assert {result["ruleId"] for result in run["results"]} >= {"weights.pickle_files", "source.refused"}
    uris = {
        location["physicalLocation"]["artifactLocation"]["uri"]
        for result in run["results"]
        for location in result["locations"]
    }
    assert f"file://{ZOO / 'pickle-weights'}/adapter_model.bin" in uris
    alone = say("inspect", "--format", "sarif", ZOO / "escaping-symlink")
    assert alone.code == 3
    assert alone.document["runs"][0]["results"]


def test_uris_are_relative_where_the_source_was(tmp_path):
    shutil.copytree(ZOO / "pickle-weights", tmp_path / "a b")
    said = say("inspect", "--format", "sarif", "a b", within=tmp_path)
    assert "a%20b/adapter_model.bin" in said.out


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (None, "not a PEFT adapter"),
        ({"lora_parameters": {"rank": 8}, "model": "org/x"}, "an MLX adapter"),
        ({"peft_type": "LORA", "base_model_name_or_path": None}, "for a base that it does not name"),
    ],
)
def test_what_is_no_adapter_is_named_for_what_it_is(tmp_path, config, words):
    (tmp_path / "notes.txt").write_text("x")
    if config is not None:
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    said = say("inspect", tmp_path)
    assert said.code == 0
    assert words in said.out.splitlines()[0]
    assert "    source.kind: " in said.out
    assert "next: " in said.out


def test_hostile_text_is_visible_in_every_format(tmp_path):
    shutil.copytree(ZOO / "lora", tmp_path / "x")
    config = tmp_path / "x" / "adapter_config.json"
    document = json.loads(config.read_text()) | {
        "base_model_name_or_path": "\x1b]0;owned\x07\u202e[a](b)",
        "\x1bkey": 1,
    }
    config.write_text(json.dumps(document))
    for output in ("text", "json", "sarif"):
        said = say("inspect", "--format", output, tmp_path / "x")
        assert said.code == 0
        assert not [c for c in said.out if c != "\n" and not c.isprintable()]


@pytest.mark.skipif(not PUBLISHED, reason="the wild set of published adapters is absent (PEFT_ASSAY_WILD)")
@pytest.mark.parametrize("output", ["text", "json", "sarif"])
def test_adapters_as_people_publish_them_are_told_without_a_crash(output):
    said = say("inspect", "--format", output, *PUBLISHED)
    assert said.code == 0, said.err
    assert not [c for c in said.out if c != "\n" and not c.isprintable()]
    assert "the probe broke" not in said.out
    for path in PUBLISHED:
        assert path.name in said.out


@pytest.mark.skipif(not PUBLISHED, reason="the wild set of published adapters is absent (PEFT_ASSAY_WILD)")
def test_a_published_configuration_without_weights_says_that_first():
    entries = say("inspect", "--format", "json", *PUBLISHED).document
    without = [entry for entry in entries if entry["kind"] != "a PEFT adapter"]
    assert len(without) > len(entries) / 2
    for entry in without:
        first, *rest = entry["findings"]
        assert (first["rule"], first["severity"]) == ("source.kind", "block")
        assert first["nextStep"]
        assert "weights.canonical" in first["implied"] or entry["kind"] == "not a PEFT adapter"
        assert "weights.canonical" not in [finding["rule"] for finding in rest]
