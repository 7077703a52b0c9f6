"""What `revoke` says before it signs: what it touches, and where it looks like a mistake."""

import shutil
from pathlib import Path

import pytest

from fingerprint import rewritings as make

pytestmark = pytest.mark.sandbox
NOTHING = "sha256:" + "3" * 64


def write(world, name, files):
    folder = Path(world.adapter(name))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path, content in files.items():
        (folder / path).write_bytes(content)
    return str(folder)


def files_of(world, name="lora"):
    return {path.name: path.read_bytes() for path in Path(world.adapter(name)).iterdir()}


def twin(world, change="rotated", name="again"):
    return write(world, name, make.rewritings(files_of(world))[change])


def certificate(world):
    return world.verify()[1]["certificate"]["envelope"]


def test_it_says_which_names_certificates_and_function_it_touches(world):
    done = world.json("revoke", world.adapter("lora"), "--reason", "backdoor")
    touches = done.document["touches"]
    assert [Path(name).name for name in touches["names"]] == ["lora"]
    assert len(touches["certificates"]) == 1
    assert touches["function"].startswith("sha256:")
    assert touches["fingerprint"].startswith("sha256:")
    assert touches["unknown"] is None
    assert "touches 1 certificates, 0 activations" in done.err


@pytest.mark.parametrize("scope", ["adapter", "certificate", "weights", "policy", "suite", "base", "key"])
def test_a_digest_that_nothing_here_has_is_asked_about(world, scope):
    target = NOTHING if scope != "key" else "3" * 64
    done = world.run("revoke", target, "--scope", scope, "--reason", "r")
    assert done.code == 2
    assert "the withdrawal touches nothing in this workspace:" in done.err
    assert "--yes" in done.err
    assert "nothing is withdrawn" in world.run("revoke", "--list").out
    assert world.run("revoke", target, "--scope", scope, "--reason", "r", "--yes").code == 0


@pytest.mark.parametrize("scope", ["adapter", "weights", "policy"])
def test_a_certificate_s_digest_under_another_scope_is_asked_about(world, scope):
    done = world.run("revoke", certificate(world), "--scope", scope, "--reason", "r")
    assert done.code == 2
    assert "this is the digest of a certificate" in done.err
    assert world.run("revoke", certificate(world), "--scope", "certificate", "--reason", "r").code == 0
    assert world.verify()[0] == 12


@pytest.mark.parametrize("scope", ["adapter", "certificate"])
def test_what_is_known_by_digest_alone_uses_the_stored_bytes(world, scope):
    found = world.verify()[1]["certificate"]
    target = found["artifact"] if scope == "adapter" else found["envelope"]
    assert world.run("revoke", target, "--scope", scope, "--reason", "r").code == 0
    code, entry = world.json("verify", twin(world)).code, world.verify("again")[1]
    assert (code, entry["check"]) == (12, "withdrawn")
    assert "has the function that was withdrawn" in entry["message"]


def test_an_adapter_that_was_never_here_is_withdrawn_with_what_it_does(world):
    stranger = write(world, "stranger", make.lora(seed=4))
    assert world.run("revoke", stranger, "--reason", "seen elsewhere").code == 0
    again = write(world, "again", make.rewritings(make.lora(seed=4))["mixed"])
    assert world.verify("again")[1]["check"] == "withdrawn", again


def test_a_lift_of_a_twin_names_the_withdrawal_that_holds_it(world):
    artifact = certificate_artifact = world.verify()[1]["certificate"]["artifact"]
    assert world.run("revoke", world.adapter("lora"), "--reason", "r").code == 0
    done = world.run("revoke", "--lift", twin(world), "--reason", "r")
    assert done.code == 2
    assert artifact in done.err
    assert world.run("revoke", "--lift", certificate_artifact, "--reason", "r").code == 0
    assert world.verify()[0] == 0


def test_what_cannot_be_computed_is_withdrawn_by_name_and_says_so(world):
    done = world.json("revoke", world.adapter("pickle-weights"), "--reason", "r")
    assert done.code == 0
    assert "cannot be computed" in done.document["touches"]["unknown"]
    assert "recognised by name only" in done.err
