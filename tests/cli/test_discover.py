"""`discover`: an inventory that blocks nothing, and a proposed project that the project reader takes."""

import json
import os
import shutil
from pathlib import Path

import pytest

from cli.command_line import ZOO, say
from peft_assay.core.errors import UsageError
from peft_assay.pipeline.documents import read_assay
from peft_assay.pipeline.proposal import write_proposal

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def adapter(folder, name="lora", *, drop=(), **changes):
    shutil.copytree(ZOO / name, folder)
    for file in drop:
        (folder / file).unlink()
    config = folder / "adapter_config.json"
    if changes:
        config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    return folder


def found(*arguments, within=None):
    said = say("discover", "--format", "json", *arguments, within=within)
    assert said.code == 0, said
    return {entry["path"]: entry for entry in said.document["found"]}


def test_the_zoo_at_a_glance():
    entries = {path.rsplit("/", 1)[-1]: entry for path, entry in found(ZOO).items()}
    assert set(entries) == {path.name for path in ZOO.iterdir()}
    assert (entries["ia3"]["peftType"], entries["ia3"]["base"], entries["ia3"]["remarks"]) == ("IA3", "zoo/base", [])
    assert entries["pickle-weights"]["remarks"] == ["pickle weights (adapter_model.bin)"]
    assert entries["no-licence"]["remarks"] == ["no licence in the card"]
    assert not entries["escaping-symlink"]["usable"]
    assert "holds links, which intake refuses" in entries["escaping-symlink"]["remarks"]
    assert entries["two-configs.zip"]["kind"] == "an archive, not opened"


@pytest.mark.parametrize(
    ("changes", "drop", "remark"),
    [
        ({"base_model_name_or_path": None}, (), "only the card names its base"),
        ({"base_model_name_or_path": None}, ("README.md",), "names no base"),
        ({"base_model_name_or_path": "/home/me/llama"}, (), "its base is a path on the publisher's machine"),
        ({"base_model_name_or_path": "C:\\Users\\me\\x"}, (), "its base is a path on the publisher's machine"),
        ({}, ("adapter_model.safetensors",), "no weights"),
        ({}, ("README.md",), "no model card"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, changes, drop, remark):
    folder = adapter(tmp_path / "x", drop=drop, **changes)
    assert remark in found(tmp_path)[str(folder)]["remarks"]


@pytest.mark.parametrize(
    ("file", "content", "remark"),
    [
        (
            "adapter_model.safetensors",
            b"version https://git-lfs.github.com/spec/v1\n",
            "weights not fetched (Git LFS pointer)",
        ),
        ("adapter_model.safetensors", b"", "the weights file is empty"),
        ("adapter_model.bin", b"\x80\x02", "pickle weights beside the safetensors (adapter_model.bin)"),
        ("training_args.bin", b"\x80\x02", "pickle: training_args.bin"),
        ("adapter_config.json", b'{"lora_parameters": {}, "model": "mlx/x"}', "MLX: PEFT does not read it"),
        ("adapter_config.json", b"{", "adapter_config.json cannot be read"),
    ],
)
def test_files_are_recognised_by_name_and_beginning(tmp_path, file, content, remark):
    folder = adapter(tmp_path / "x")
    (folder / file).write_bytes(content)
    assert remark in found(tmp_path)[str(folder)]["remarks"]


def test_checkpoints_below_an_adapter_are_told(tmp_path):
    top = adapter(tmp_path / "x")
    for step in (10, 20):
        adapter(top / f"checkpoint-{step}")
    entries = found(tmp_path)
    assert len(entries) == 3
    assert "2 more in folders below it, taken as part of it" in entries[str(top)]["remarks"]


def test_a_hub_cache_is_told_by_repository_commit_and_branch(tmp_path):
    repository = tmp_path / "models--org--name"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for at, file in enumerate(sorted(ZOO.joinpath("lora").iterdir())):
        blob = f"{at}" * 40
        shutil.copy(file, repository / "blobs" / blob)
        (snapshot / file.name).symlink_to(f"../../blobs/{blob}")
    entry = found(tmp_path)[str(snapshot)]
    assert (entry["repository"], entry["commit"], entry["references"]) == ("org/name", COMMIT, ["main"])
    assert entry["usable"]
    line = say("discover", tmp_path).out.splitlines()[0]
    assert "= org/name@0123456789ab (main): a PEFT adapter (LORA); base zoo/base;" in line
    assert say("inspect", snapshot).code == 0


def test_bad_adapters_block_nothing_and_nothing_found_is_not_success(tmp_path):
    assert say("discover", ZOO / "pickle-weights").code == 0
    (tmp_path / "empty").mkdir()
    said = say("discover", tmp_path / "empty")
    assert said.code == 2
    assert "no adapter was found in 1 folders" in said.err
    said = say("discover", tmp_path / "gone", ZOO)
    assert (said.code, said.out) == (2, "")
    assert "there is no such place" in said.err
    said = say("discover", "hf://org/name")
    assert said.code == 2
    assert "next: " in said.err


def test_adapters_as_people_publish_them_are_all_found():
    wild = Path(os.environ.get("PEFT_ASSAY_WILD") or Path(__file__).parents[3] / "shared" / "wild")
    if not wild.is_dir():
        pytest.skip("the wild set of published adapters is absent (PEFT_ASSAY_WILD)")
    entries = found(wild)
    assert len(entries) == len([path for path in wild.iterdir() if path.is_dir()])
    assert all(entry["remarks"] for entry in entries.values())
    assert say("discover", wild, "--propose", "-").code == 0


def test_depth_is_bounded_and_told(tmp_path):
    adapter(tmp_path / "a" / "b" / "c")
    adapter(tmp_path / "x")
    out = say("discover", "--max-depth", "1", tmp_path).out
    assert "1 found in 3 folders" in out
    assert "1 folders lie deeper than the walk goes (--max-depth)" in out


def test_the_proposal_is_a_project_with_what_was_found(tmp_path):
    adapter(tmp_path / "adapters" / "Style One")
    adapter(tmp_path / "adapters" / "deep" / "style-one")
    adapter(tmp_path / "adapters" / "broken", drop=("adapter_model.safetensors",))
    said = say("discover", "adapters", "--propose", "peft-assay.yaml", within=tmp_path)
    assert said.code == 0
    assert "proposed peft-assay.yaml" in said.err
    text = (tmp_path / "peft-assay.yaml").read_text()
    document = read_assay(tmp_path / "peft-assay.yaml")
    assert {alias: section.source for alias, section in document.adapters.items()} == {
        "style-one": "./adapters/Style One",
        "style-one-2": "./adapters/deep/style-one",
    }
    assert "# 2 of the adapters below name the base zoo/base" in text
    assert "# left out: adapters/broken: a PEFT configuration without weights; no weights" in text


def test_a_proposal_never_overwrites(tmp_path):
    target = tmp_path / "peft-assay.yaml"
    target.write_text("mine")
    said = say("discover", ZOO / "lora", "--propose", target)
    assert said.code == 2
    assert target.read_text() == "mine"
    target.unlink()
    target.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError):
        write_proposal("x", target)
    assert not (tmp_path / "elsewhere").exists()


def test_a_proposal_can_be_seen_first(tmp_path):
    said = say("discover", ZOO, "--propose", "-", within=tmp_path)
    (tmp_path / "seen.yaml").write_text(said.out)
    assert len(read_assay(tmp_path / "seen.yaml").adapters) == 19
    assert "peft-assay.yaml" not in [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize(
    "name", ["'\": {}\n#", "x\n  evil: {source: /}", "\x1b[31m", "- *a", "é\u202e", ".", "..x", "\U0001f600 a\\b"]
)
def test_hostile_names_and_bases_do_not_write_the_document(tmp_path, name):
    adapter(tmp_path / "in" / (name if name != "." else "dot"), base_model_name_or_path=f"a\n{name}: b # \x1b]0;x\x07")
    target = tmp_path / "peft-assay.yaml"
    assert say("discover", tmp_path / "in", "--propose", target).code == 0
    (section,) = read_assay(target).adapters.values()
    assert (tmp_path / section.source / "adapter_config.json").is_file()
    for output in ("text", "json"):
        out = say("discover", tmp_path / "in", "--format", output).out
        assert not [c for c in out if c != "\n" and not c.isprintable()]
