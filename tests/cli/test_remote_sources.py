"""A name of the Hub works wherever a path does, and its refusal is told like any other."""

import json

import pytest

pytest.importorskip("huggingface_hub", reason="needs huggingface_hub (extra hub)")

from intake.remote.hub_server import Hub, Repository
from peft_assay.cli.main import run
from peft_assay.core.errors import Door

COMMIT = "a" * 40
FILES = {
    "adapter_config.json": b'{"peft_type": "LORA", "base_model_name_or_path": "org/base", "target_modules": ["q_proj"]}',
    "README.md": b"---\nlicense: mit\n---\n",
}


@pytest.fixture
def hub(monkeypatch, tmp_path):
    made = Hub({"org/name": Repository({"main": COMMIT}, {COMMIT: dict(FILES)})})
    server = made.serve()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    # Read when the library is first imported, which may have been in a test that was offline.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    yield made
    server.shutdown()
    server.server_close()


def test_inspect_fetches_pins_and_tells(hub, capsys):
    assert run(["inspect", "hf://org/name", "--format", "json"]) == Door.PASSED
    told = capsys.readouterr()
    assert json.loads(told.out)
    assert f"hf://org/name@{COMMIT}" in told.err
    hub.repositories["org/name"].gated = True
    assert run(["inspect", f"org/name@{COMMIT}", "--format", "json"]) == Door.PASSED, "it is here already"


def test_a_gated_one_is_a_refusal(hub, capsys):
    hub.repositories["org/name"].gated = True
    assert run(["inspect", "org/name@main"]) == Door.REFUSED
    told = capsys.readouterr().err
    assert "gated" in told
    assert "accept the terms" in told


def test_malformed_names_are_usage_errors(capsys):
    assert run(["inspect", "hf://nonsense"]) == Door.USAGE
    assert "hf://org/name@revision" in capsys.readouterr().err


def test_inspect_names_it_by_its_pinned_reference(hub, capsys):
    assert run(["inspect", "org/name@main", "--format", "json"]) == Door.PASSED
    assert json.loads(capsys.readouterr().out)["source"] == f"hf://org/name@{COMMIT}"


@pytest.mark.sandbox
def test_one_that_cannot_be_fetched_ends_nothing_beside_it(hub, world):
    hub.repositories["org/closed"] = Repository({"main": COMMIT}, {COMMIT: dict(FILES)})
    hub.repositories["org/closed"].gated = True
    names = ["org/closed@main", world.adapter("prompt"), "org/name@main"]
    entries = world.json("certify", *names).document
    assert [entry["outcome"] for entry in entries] == ["REFUSED", "PASS", "FAIL"]
    assert [entry["adapter"] for entry in entries] == ["closed", "prompt", "name"]
    assert "gated" in json.dumps(entries[0])
    assert entries[2]["source"] == f"hf://org/name@{COMMIT}"
    told = world.run("verify", *map(str, names))
    assert told.code == Door.REFUSED
    assert f"peft-assay report --trust {world.trust} hf://org/name@{COMMIT}" in told.out
