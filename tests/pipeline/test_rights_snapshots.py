"""Snapshots of what the Hub says of a lineage: kept by content, judged by without network, compared when asked again."""

import json
import socket

import pytest

pytest.importorskip("huggingface_hub", reason="needs huggingface_hub (extra hub)")

from intake.remote.hub_server import Hub, Repository
from peft_assay.core.errors import Door, TrustError
from peft_assay.pipeline.standing import parse_snapshot, read_snapshot

COMMIT, LATER = "a" * 40, "b" * 40


def repository(front, *, terms=False, gated=False, card=None, extra=None, commit=COMMIT):
    files = {"README.md": f"---\n{front}\n---\n".encode(), "model.safetensors": b"x" * 2000, **(extra or {})}
    return Repository({"main": commit}, {commit: files}, gated=gated, terms=terms, card=card)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    made = Hub(
        {
            "zoo/base": repository("license: apache-2.0\nbase_model: root/model\nbase_model_relation: quantized"),
            "root/model": repository(
                "license: llama3.1\ndatasets: [root/data]", extra={"LICENSE": b"LLAMA 3.1 COMMUNITY LICENSE AGREEMENT"}
            ),
            "datasets/zoo/support-dialogues": repository("license: cc-by-4.0"),
            "datasets/root/data": repository("license: cc-by-nc-4.0"),
        }
    )
    server = made.serve()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    # Read when the library is first imported, which may have been in a test that was offline.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    yield made
    server.shutdown()
    server.server_close()


def snapshot(world, name="no-licence"):
    done = world.json("rights", "snapshot", world.adapter(name))
    assert done.code == Door.PASSED, done.out + done.err
    return done.document


def show(world, name="no-licence"):
    return world.json("rights", "show", world.adapter(name)).document


def drift(world, name="no-licence"):
    done = world.json("rights", "drift", world.adapter(name))
    return done.code, done.document.get("changes")


def test_the_whole_lineage_is_asked_for_once_and_kept(world, hub, monkeypatch):
    taken = snapshot(world)
    assert [(r["kind"], r["id"], r["status"]) for r in taken["repositories"]] == [
        ("dataset", "root/data", "found"),
        ("dataset", "zoo/support-dialogues", "found"),
        ("model", "root/model", "found"),
        ("model", "zoo/base", "found"),
    ]
    assert hub.served["model.safetensors"] == 0, "weights are not asked for"
    asked = len(hub.requests)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("judging went to the network"))
    document = show(world)
    assert len(hub.requests) == asked
    nodes = {(node["kind"], node["id"]): node for node in document["nodes"]}
    assert nodes["base", "root/model"]["licence"] == "llama3.1"
    assert nodes["base", "root/model"]["revision"] == COMMIT
    assert nodes["dataset", "root/data"]["decides"] is False, "what a base was trained on is reported"
    assert {
        "child": "base zoo/base",
        "parent": "base root/model",
        "relation": "quantized",
        "evidence": ["README.md: base_model"],
    } in document["edges"]
    assert [c["code"] for c in document["conflicts"]] == ["looser-than-base", "no-revision"]


def test_the_same_facts_have_one_digest_and_changes_are_drift(world, hub):
    assert world.run("rights", "drift", world.adapter("no-licence")).code == Door.USAGE
    first = snapshot(world)
    assert snapshot(world)["snapshot"] == first["snapshot"]
    assert drift(world) == (Door.PASSED, [])
    hub.repositories["root/model"] = repository("license: other", commit=LATER)
    hub.repositories["zoo/base"].terms = "manual"
    del hub.repositories["datasets/zoo/support-dialogues"]
    code, changes = drift(world)
    assert code == Door.FAILED
    told = "\n".join(changes)
    for words in (
        "model root/model: licence: llama3.1 -> other",
        f"model root/model: revision: {COMMIT} -> {LATER}",
        "model root/model: LICENSE: sha256:",
        "model zoo/base: gating: no -> manual",
        "dataset zoo/support-dialogues: status: found -> absent",
        "dataset root/data: is no longer in the lineage",
    ):
        assert words in told, told
    assert show(world)["snapshot"] == first["snapshot"], "drift adopts nothing"
    second = snapshot(world)
    assert second["previous"] == first["snapshot"]
    assert show(world)["snapshot"] == second["snapshot"]
    text = world.run("rights", "drift", world.adapter("no-licence"))
    assert "nothing has changed" in text.out


def test_a_gated_repository_is_told_and_nothing_is_accepted(world, hub):
    hub.repositories["zoo/base"] = repository("license: gemma", terms="manual", gated=True, card={"license": "gemma"})
    taken = {(r["kind"], r["id"]): r for r in snapshot(world)["repositories"]}
    assert taken["model", "zoo/base"]["status"] == "gated"
    assert {method for method, _ in hub.requests} <= {"GET", "HEAD"}
    node = next(node for node in show(world)["nodes"] if node["id"] == "zoo/base")
    assert node["gating"] == "manual"
    assert [claim["stated"] for claim in node["claims"] if claim["source"] == "card"] == ["gemma"]


def test_a_clearance_is_for_the_snapshot_it_was_decided_on(world, hub):
    snapshot(world)
    done = world.json(
        "rights", "clear", world.adapter("no-licence"), "--grant", "commercial", "--reason", "r", "--by", "Legal"
    )
    assert done.code == Door.PASSED, done.out
    assert show(world)["answers"]["commercial"] == "yes"
    hub.repositories["root/model"] = repository("license: llama3.1", commit=LATER)
    snapshot(world)
    assert show(world)["answers"]["commercial"] == "unknown"


def test_what_cannot_be_asked_is_never_adopted(world, hub, monkeypatch):
    first = snapshot(world)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    done = world.run("rights", "snapshot", world.adapter("no-licence"))
    assert done.code == Door.STORAGE
    assert "nothing was adopted" in done.err
    assert show(world)["snapshot"] == first["snapshot"]


def test_altered_content_is_not_believed(world, hub):
    hub.repositories["zoo/base"].altered["README.md"] = b"---\nlicense: unlicense\n---\n" + b" " * 50
    done = world.run("rights", "snapshot", world.adapter("no-licence"))
    assert done.code == Door.STORAGE, "what arrived is not what the commit announces"


def test_local_paths_are_nobody_s_repository(world, hub):
    folder = world.project / "adapters" / "no-licence"
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "/data/models/llama"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("# nothing\n")
    done = world.run("rights", "snapshot", world.adapter("no-licence"))
    assert "nobody to ask" in done.out
    assert hub.requests == []


def test_altered_snapshots_are_refused(world, hub):
    digest = snapshot(world)["snapshot"]
    with world.open() as deployment:
        kept = read_snapshot(deployment.workspace, digest)
        assert kept["model", "root/model"].files["LICENSE"].startswith(b"LLAMA")
    path = next(
        p for p in (world.project / ".peft-assay" / "blobs").rglob("*") if digest.removeprefix("sha256:")[2:] in p.name
    )
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"cc-by", b"xx-by") + b" ")
    assert world.run("rights", "show", world.adapter("no-licence")).code == Door.TRUST
    with pytest.raises(TrustError):
        parse_snapshot(b'{"apiVersion": "x"}', where="s")


def test_where_somebody_can_be_asked_that_comes_first(world, hub):
    card = world.project / "adapters" / "no-licence" / "README.md"
    card.write_text("---\ndatasets: [root/data]\n---\n")
    document = show(world)
    assert document["next"][0] == f"peft-assay rights snapshot --trust {world.trust} {world.adapter('no-licence')}"
    assert any("root/data: nobody was asked" in text for text in document["unknown"])
    snapshot(world)
    after = show(world)
    assert after["answers"]["commercial"] == "no", "root/data says no, and no is an answer"
    assert [command.split("--grant ")[1].split()[0] for command in after["next"]] == [
        "commercial",
        "derivatives",
        "redistribution",
        "hosted",
    ]
