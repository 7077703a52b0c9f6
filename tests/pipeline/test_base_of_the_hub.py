"""A base that is named by its repository is fetched as adapters are: pinned, checked, once."""

import pytest

pytest.importorskip("huggingface_hub", reason="needs huggingface_hub (extra hub)")

from intake.remote.hub_server import Hub, Repository
from peft_assay.core.errors import Door
from peft_assay.pipeline.base_place import base_folder
from peft_assay.pipeline.documents import read_assay
from peft_assay.sandbox.loading import is_base_file
from pipeline.bare_world import bare_world
from pipeline.certified_world import ZOO

COMMIT = "b" * 40
LEFT_OUT = {"pytorch_model.bin": b"pickle", "onnx/model.onnx": b"graph", "original/model.safetensors": b"", "x.py": b""}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    files = {path.name: path.read_bytes() for path in sorted((ZOO / "base").iterdir())}
    commit = {**files, **LEFT_OUT, "LICENSE": b"terms"}
    made = Hub({"org/base": Repository({"main": COMMIT}, {COMMIT: commit})})
    server = made.serve()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return bare_world(tmp_path_factory.mktemp("hub"))


@pytest.fixture
def world(project):
    """The project, for one test to edit its document."""
    written = project.document.read_bytes()
    yield project
    project.document.write_bytes(written)


def test_the_plan_fetches_the_base_once_and_then_needs_no_network(hub, world, monkeypatch):
    world.edit("path: ./base", f"path: hf://org/base@{COMMIT}")
    done = world.run("certify", "--plan", str(ZOO / "adapters" / "lora"))
    assert done.code == Door.PASSED, done.err
    assert "0.8649 million parameters" in done.out
    assert "model.safetensors" in done.err, "it tells what it fetches"
    folder = base_folder(read_assay(world.document), world.document)
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if ".cache" not in path.parts}
    assert names == {path.name for path in (ZOO / "base").iterdir()} | {"LICENSE"}
    hub.repositories.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = world.run("certify", "--plan", str(ZOO / "adapters" / "lora"))
    assert (again.code, again.err) == (Door.PASSED, "")
    assert world.run("verify", str(ZOO / "adapters" / "lora")).code == Door.DENIED, (
        "denied by the gate: it has its base"
    )


@pytest.mark.parametrize("written", ["hf://org/base", "hf://org/base@main"])
def test_a_name_that_may_move_is_refused_with_the_commit_that_it_means(hub, world, written):
    world.edit("path: ./base", f"path: {written}")
    done = world.run("certify", "--plan", str(ZOO / "adapters" / "lora"))
    assert done.code == Door.USAGE
    assert f"write what it means today: hf://org/base@{COMMIT}" in done.err
    world.edit(f"path: {written}", f"path: hf://org/base@{COMMIT}")
    assert world.run("certify", "--plan", str(ZOO / "adapters" / "lora")).code == Door.PASSED


@pytest.mark.parametrize(
    ("named", "code", "said"),
    [
        ("hf://org/none@" + COMMIT, Door.REFUSED, "no such repository"),
        ("hf://org/base@" + "c" * 40, Door.REFUSED, "no revision"),
        ("hf://nonsense", Door.USAGE, "hf://org/name@revision"),
        ("org/base", Door.USAGE, "hf://org/base@COMMIT"),
    ],
)
def test_what_cannot_be_fetched_is_told_with_a_step(hub, world, named, code, said):
    world.edit("path: ./base", f"path: {named}")
    done = world.run("certify", "--plan", str(ZOO / "adapters" / "lora"))
    assert done.code == code
    assert said in done.err
    assert "next: " in done.err


def test_what_of_a_repository_makes_a_base():
    wanted = [
        "config.json",
        "model-00001-of-00002.safetensors",
        "tokenizer.json",
        "vocab.txt",
        "LICENSE.txt",
        "README.md",
    ]
    wanted += ["additional_chat_templates/a.jinja", "model.safetensors.index.json", "tokenizer.model"]
    assert all(map(is_base_file, wanted))
    left = [*LEFT_OUT, "a/config.json", "docs/LICENSE", "model.gguf", "training_args.bin", ".gitattributes"]
    assert not any(map(is_base_file, left))
