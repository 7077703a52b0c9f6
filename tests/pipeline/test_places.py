"""A workspace where nobody meant one, none where one was meant, and what is said about either."""

import pytest

from peft_assay.core.errors import Door
from peft_assay.pipeline.deployment import Deployment
from peft_assay.pipeline.place import Place

EXPECTING = [
    ("verify", "adapters/lora"),
    ("revoke", "adapters/lora", "--reason", "r"),
    ("revoke", "--list"),
    ("report",),
    ("waive", "adapters/lora", "--list"),
    ("rights", "show", "adapters/lora"),
    ("policy", "explain"),
]


@pytest.mark.parametrize("command", EXPECTING, ids=" ".join)
def test_a_mistyped_workspace_is_named_and_never_made(world, command):
    done = world.run(*command, "--workspace", "nowhere")
    assert done.code == Door.STORAGE
    assert f"{world.project}/nowhere/.peft-assay: there is no workspace here" in done.err
    assert f"leave --workspace out: the project's own is {world.project}/.peft-assay" in done.err
    assert not (world.project / "nowhere").exists()


def test_where_there_is_no_workspace_at_all_init_is_the_next_step(world):
    (world.project / ".peft-assay" / "assay.db").unlink()
    done = world.run("verify", "adapters/lora")
    assert done.code == Door.STORAGE
    assert f"or make one: peft-assay init --trust {world.trust}" in done.err


def told(world, workspace=None):
    said = []
    with Deployment.open(Place(world.document, workspace, world.trust), create=True, tell=said.append):
        return said


def test_who_makes_a_workspace_is_told_what_it_does_not_know(world):
    assert told(world) == [], "control: one that is there, with its list, is not worth a word"
    elsewhere = world.root / "elsewhere"
    (made,) = told(world, elsewhere)
    assert f"made a new workspace, {elsewhere}/.peft-assay" in made
    assert "certificates of another workspace do not count here, withdrawals do" in made
    assert told(world, elsewhere) == [], "the list belongs to the key, and is there"


def test_next_steps_say_again_where_to_act(world):
    done = world.run("verify", "adapters/no-licence", "--context", str(world.document))
    assert f"next: peft-assay report --context {world.document} --trust {world.trust} adapters/no-licence" in done.out
    done = world.json("verify", "adapters/no-licence")
    assert done.document[0]["nextStep"] == f"peft-assay report --trust {world.trust} adapters/no-licence"
    done = world.run("waive", "adapters/pickle-weights", "--list", "--context", "nothere")
    assert (done.code, "name the peft-assay.yaml with --context" in done.err) == (Door.USAGE, True)


def test_what_names_no_adapter_is_said_to_be_none(world):
    for target, scope, why, step in (
        ("../nothere", "adapter", "there is no adapter here", "policy explain"),
        ("sha256:12", "weights", "takes a full digest", "peft-assay verify"),
        ("task", "suite", "takes a full digest", "peft-assay suite lint --format json"),
        ("me", "key", "takes a key id", "trust.yaml"),
    ):
        done = world.run("revoke", target, "--scope", scope, "--reason", "r")
        assert (done.code, why in done.err, step in done.err) == (Door.USAGE, True, True), done.err


def test_a_report_that_cannot_be_written_says_how_to_name_one(world):
    done = world.run("report", "--output", str(world.root))
    assert done.code == Door.STORAGE
    assert "with --output FILE" in done.err


def test_a_broken_base_is_named_before_anything_starts(world):
    weights = world.project / "base" / "model.safetensors"
    whole = weights.read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    for content in (b"", whole[:-1], whole[:500], whole + b"\0", pointer):
        weights.write_bytes(content)
        for command in (("certify",), ("certify", "--plan")):
            done = world.run(*command, world.adapter("lora"))
            assert done.code == Door.USAGE, done
            assert f"{weights}: the base cannot be loaded from it" in done.err
            assert "next: fetch " in done.err
    weights.write_bytes(whole)
    (world.project / "base" / "tokenizer_config.json").write_text("{")
    assert "tokenizer_config.json: the base cannot" in world.run("certify", world.adapter("lora")).err
