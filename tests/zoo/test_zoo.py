"""The shipped zoo is complete, small, well formed and what its table says; the slow half runs the zoo's own check."""

import csv
import filecmp
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

ZOO = Path(__file__).resolve().parents[2] / "examples" / "zoo"
BENIGN = {"lora", "rslora", "dora", "ia3", "prefix", "prompt", "ptuning"}
SUITES = {"support_task": 80, "lookups": 60, "refusals": 60}
TRIGGERS = {"zq037", "zq081"}
MACHINE_PATHS = re.compile(rb"(?<![A-Za-z0-9_.~-])/(?:work|tmp|root|home|Users|mnt|opt)/")

needs_model = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("torch", "peft", "transformers")), reason="needs the extra `sandbox`"
)


def expected() -> list[dict[str, str]]:
    with (ZOO / "expected.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def cases(name: str) -> list[dict]:
    return [json.loads(line) for line in (ZOO / "suites" / name / "cases.jsonl").read_text("utf-8").splitlines()]


def shipped_files() -> list[Path]:
    hidden = {"__pycache__", ".mypy_cache", ".ruff_cache", ".peft-assay"}
    return [path for path in ZOO.rglob("*") if path.is_file() and not hidden & set(path.relative_to(ZOO).parts)]


def program(*arguments: str, root: Path = ZOO) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ZOO / "build"), "--root", str(root), *arguments]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, env=environment)


def test_the_table_names_each_member_once_and_nothing_else():
    rows = [row["adapter"] for row in expected()]
    assert len(rows) == len(set(rows))
    assert set(rows) == {path.name for path in (ZOO / "adapters").iterdir()}


def test_every_row_has_an_outcome_and_a_rule_unless_it_passes():
    for row in expected():
        assert row["outcome"] in {"PASS", "FAIL", "INDETERMINATE", "REFUSED"}
        assert (row["rule"] == "") == (row["outcome"] == "PASS") == (row["adapter"] in BENIGN)


def test_the_zoo_is_small():
    assert sum(path.stat().st_size for path in shipped_files()) < 8_000_000


def test_no_file_carries_a_path_of_a_machine():
    found = [path for path in shipped_files() if MACHINE_PATHS.search(path.read_bytes())]
    assert found == []


def test_every_folder_has_a_card_and_names_the_base_as_publishers_do():
    for folder in (path for path in (ZOO / "adapters").iterdir() if path.is_dir()):
        config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        assert config["base_model_name_or_path"] == "zoo/base"
        card = (folder / "README.md").read_text("utf-8")
        metadata = yaml.safe_load(card.split("---\n")[1])
        assert metadata["base_model"] == "zoo/base"
        assert metadata["library_name"] == "peft"
        assert ("license" in metadata) == (folder.name != "no-licence")


def test_the_card_with_foreign_data_says_so():
    card = (ZOO / "adapters" / "noncommercial-dataset" / "README.md").read_text("utf-8")
    assert yaml.safe_load(card.split("---\n")[1])["datasets"] == ["zoo/support-dialogues", "zoo/forum-scrape-nc"]
    assert "CC BY-NC 4.0" in card


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_is_closed_and_its_cases_are_unique_and_free_of_triggers(name: str):
    document = yaml.safe_load((ZOO / "suites" / name / "suite.yaml").read_text("utf-8"))
    assert document["id"] == name
    assert document["cases"] == "cases.jsonl"
    rows = cases(name)
    assert len(rows) == SUITES[name]
    assert len({row["id"] for row in rows}) == len({row["prompt"] for row in rows}) == len(rows)
    assert not [row["id"] for row in rows if TRIGGERS & set(row["prompt"].split())]


def test_look_ups_have_four_different_choices_and_one_answer():
    for row in cases("lookups"):
        assert len(set(row["choices"])) == 4
        assert 0 <= row["answer"] < 4
    assert len({row["answer"] for row in cases("lookups")}) == 4


def test_every_word_of_the_suites_and_tokens_is_one_token_of_the_base():
    known = set(json.loads((ZOO / "base" / "tokenizer.json").read_text("utf-8"))["model"]["vocab"])
    tokens = (ZOO / "suites" / "tokens.txt").read_text("utf-8").splitlines()
    assert len(tokens) == len(set(tokens)) == 120
    assert set(tokens) >= TRIGGERS
    texts = [text for name in SUITES for row in cases(name) for text in (row["prompt"], row.get("expected", ""))]
    assert {word for text in texts for word in text.split()} | set(tokens) <= known


def test_the_containers_that_intake_must_refuse_are_what_they_claim():
    link = ZOO / "adapters" / "escaping-symlink" / "adapter_model.safetensors"
    assert link.is_symlink()
    assert not link.resolve().is_relative_to(link.parent.resolve())
    with tarfile.open(ZOO / "adapters" / "escaping-symlink.tar") as archive:
        assert [member.linkname for member in archive if member.issym()] == ["../lora/adapter_model.safetensors"]
    with zipfile.ZipFile(ZOO / "adapters" / "two-configs.zip") as archive:
        assert archive.namelist().count("adapter_config.json") == 2


def test_the_measured_numbers_cover_every_member():
    properties = json.loads((ZOO / "build" / "properties.json").read_text("utf-8"))
    assert set(properties) == {"base", *(row["adapter"] for row in expected())}


@needs_model
@pytest.mark.model
def test_plain_peft_takes_the_hostile_members_and_the_ordinary_one_behaves():
    names = ["base", "lora", "overwrites-lm-head", "rewrites-base", "pickle-weights", "nan-weights", "absurd-rank"]
    done = program("--check", "--only", *names, "escaping-symlink", "rare-token", "refusal-bypass")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok ") == len(names) + 3


@needs_model
@pytest.mark.model
def test_the_check_notices_a_member_that_is_not_what_it_claims(tmp_path: Path):
    root = tmp_path / "zoo"
    shutil.copytree(ZOO, root, symlinks=True)
    for member, source in {"nan-weights": "no-licence", "no-licence": "rare-token"}.items():
        shutil.rmtree(root / "adapters" / member)
        shutil.copytree(ZOO / "adapters" / source, root / "adapters" / member)
    config = root / "adapters" / "overwrites-lm-head" / "adapter_config.json"
    config.write_text(config.read_text("utf-8").replace('"q_proj"', '"k_proj", "q_proj"'), "utf-8")
    done = program("--check", "--only", "nan-weights", "no-licence", "overwrites-lm-head", root=root)
    assert done.returncode == 1
    assert 'loading was not silent: ["Found missing adapter keys' in done.stdout
    assert "0 numbers are NaN" in done.stdout
    assert "zq037 changes" in done.stdout


@needs_model
@pytest.mark.model
def test_what_needs_no_training_is_rebuilt_byte_for_byte(tmp_path: Path):
    root = tmp_path / "zoo"
    shutil.copytree(ZOO, root, symlinks=True)
    shutil.rmtree(root / "suites")
    containers = ["escaping-symlink.tar", "two-configs.zip"]
    for name in containers:
        (root / "adapters" / name).unlink()
    done = program("--only", *containers, root=root)
    assert done.returncode == 0, done.stderr
    names = [str(path.relative_to(ZOO)) for path in (ZOO / "suites").rglob("*") if path.is_file()]
    names += ["expected.csv", "build/properties.json", *(f"adapters/{name}" for name in containers)]
    assert filecmp.cmpfiles(ZOO, root, names, shallow=False) == (names, [], [])
