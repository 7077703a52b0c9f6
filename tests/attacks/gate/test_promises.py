"""A PASS that the gate refuses at once is a promise that nobody keeps: what the gate would say is asked before.

Each has its positive control: without the question the same command ends with PASS, and the gate denies; or it runs the
whole sandbox although nothing could pass.
"""

import re
from datetime import timedelta

import pytest

from peft_assay.core.errors import Door
from peft_assay.pipeline import certify as pipeline_certify
from peft_assay.pipeline.deployment import utc_now
from peft_assay.store.ledger import Kind
from pipeline.certified_world import certified_world, copy_of

pytestmark = [pytest.mark.sandbox, pytest.mark.model]


@pytest.fixture
def world(tmp_path):
    return copy_of(certified_world(), tmp_path / "world")


def attempts(world):
    with world.open() as deployment:
        return sum(entry.kind is Kind.ATTEMPT for entry in deployment.workspace.history())


def anchor(world, old, new):
    path = world.trust / "trust.yaml"
    text, count = re.subn(old, new, path.read_text())
    assert count == 1
    path.write_text(text)


def key_of(world, role):
    return world.trust / "keys" / f"{role}.pem"


def keyid_of(world, role):
    with world.open() as deployment:
        (key,) = (pinned.key for pinned in deployment.anchor.keys[role])
    return key.keyid


def digest_of_suite(world):
    with world.open() as deployment:
        return deployment.project.suites[0].digest


def digest_of_policy(world):
    with world.open() as deployment:
        return deployment.project.policy.policy.digest


def withdraw(world, target, scope):
    done = world.run("revoke", target, "--scope", scope, "--reason", "no longer")
    assert done.code == 0, done


REFUSED = {
    "development keys in a production context": (
        lambda world: world.edit("  purpose:", "  production: true\n  purpose:"),
        Door.TRUST,
        "production refuses development keys",
    ),
    "development keys under an anchor of production": (
        lambda world: anchor(world, "production: false", "production: true"),
        Door.TRUST,
        "production refuses development keys",
    ),
    "no key of the authority": (
        lambda world: key_of(world, "authority").unlink(),
        Door.TRUST,
        "there is no private key",
    ),
    "a key of the sandbox that the anchor does not pin": (
        lambda world: key_of(world, "sandbox").write_bytes(key_of(world, "approver").read_bytes()),
        Door.TRUST,
        "not one that the trust anchor pins",
    ),
    "a withdrawn key of the sandbox": (
        lambda world: withdraw(world, keyid_of(world, "sandbox"), "key"),
        Door.TRUST,
        "key of role sandbox is withdrawn",
    ),
    "a withdrawn policy": (
        lambda world: withdraw(world, digest_of_policy(world), "policy"),
        Door.TRUST,
        "policy sha256:",
    ),
    "a withdrawn suite": (
        lambda world: withdraw(world, digest_of_suite(world), "suite"),
        Door.TRUST,
        "suite sha256:",
    ),
    "an engine that nothing here observes": (
        lambda world: world.edit("name: peft", "name: vllm"),
        Door.FAILED,
        "observed on peft; the context declares vllm",
    ),
    "a locked stack that is not the one here": (
        lambda world: (
            (world.project / "served.txt").write_text("torch==1.0.0\npeft==0.1.0\n"),
            world.edit("  engine:", "  stack: {lock: served.txt}\n  engine:"),
        ),
        Door.FAILED,
        "the lock has",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_gate_would_refuse_of_anchor_and_context_is_refused_before_anything_runs(world, case):
    spoil, door, says = REFUSED[case]
    spoil(world)
    before = attempts(world)
    done = world.run("certify", world.adapter("lora"))
    assert (done.code, attempts(world)) == (door, before), done
    assert says in done.err
    assert "next:" in done.err.lower()
    planned = world.json("certify", "--plan", world.adapter("lora"))
    assert planned.code == door, planned
    told = [refused["message"] for refused in planned.document["refused"]] + planned.document["unsatisfiable"]
    assert any(says in line for line in told), told


def test_the_control_without_the_question_passes_and_is_denied(world, monkeypatch):
    monkeypatch.setattr(pipeline_certify, "check_stand", lambda _stand: None)
    monkeypatch.setattr(pipeline_certify, "check_admitted", lambda *_: None)
    world.edit("  purpose:", "  production: true\n  purpose:")
    assert world.run("certify", world.adapter("lora")).code == Door.PASSED
    assert world.verify()[0] == Door.TRUST


def test_the_control_without_the_question_runs_all_for_another_engine(world, monkeypatch):
    monkeypatch.setattr(pipeline_certify, "check_stand", lambda _stand: None)
    world.edit("name: peft", "name: vllm")
    before = attempts(world)
    assert world.run("certify", world.adapter("lora")).code == Door.FAILED
    assert attempts(world) == before + 1


def certified(world, at):
    with world.open() as deployment:
        from peft_assay.cli.isolation import sandbox_opener
        from peft_assay.pipeline.project import declared_sources

        (done,) = pipeline_certify.certify(
            deployment,
            declared_sources(deployment.project, [world.adapter("lora")]),
            open_sandbox=sandbox_opener(None, 1),
            clock=lambda: at,
            progress=lambda *_: None,
        )
        return done


def denied(world, at):
    from peft_assay.pipeline.project import declared_sources
    from peft_assay.pipeline.verify import verify

    with world.open() as deployment:
        (said,) = verify(deployment, declared_sources(deployment.project, [world.adapter("lora")]), clock=lambda: at)
    return said.door


def test_what_is_kept_is_young_enough_for_the_anchor_too(world, monkeypatch):
    """The context lets observations live for 30 days, the anchor for one; those at hand are two days old."""
    anchor(world, "maximumAge: 90d", "maximumAge: 1d")
    at = utc_now() + timedelta(days=2)
    done = certified(world, at)
    assert (done.outcome.value, done.reused) == ("PASS", False)
    assert denied(world, at) == Door.PASSED
    assert denied(world, at + timedelta(days=1)) == Door.DENIED
    done = world.run("certify", "--plan", world.adapter("lora"))
    assert "the trust anchor allows 1d: certificates live 1d" in done.out
    monkeypatch.setattr(type(world.open().__enter__()), "maximum_age", timedelta(days=30))
    monkeypatch.setattr(pipeline_certify, "check_admitted", lambda *_: None)
    at += timedelta(days=2)
    assert certified(world, at).reused, "the control: by the context's age alone they are reused"
    assert denied(world, at) == Door.DENIED


def test_an_age_that_is_over_before_it_is_signed_is_withheld(world):
    anchor(world, "maximumAge: 90d", "maximumAge: 1s")
    done = world.json("certify", world.adapter("lora"))
    (entry,) = done.document
    assert (done.code, entry["outcome"], entry["certificate"]) == (Door.DENIED, "WITHHELD", None)
    assert "too old" in entry["reason"]


def test_a_list_is_as_fresh_as_the_anchor_wants_it(world):
    anchor(world, "revocationMaximumAge: 7d", "revocationMaximumAge: 1h")
    at = utc_now() + timedelta(hours=5)
    assert denied(world, at) == Door.DENIED, "the control: the list at hand is too old for this anchor"
    done = certified(world, at)
    assert done.outcome.value == "PASS", done.withheld
    assert denied(world, at) == Door.PASSED


def test_walls_that_the_anchor_does_not_accept_are_refused_before_an_adapter_runs(world):
    anchor(world, "minimumIsolation: 10", "minimumIsolation: 40")
    before = attempts(world)
    done = world.run("certify", world.adapter("lora"))
    assert (done.code, attempts(world)) == (Door.UNOBSERVED, before), done
    assert "the gate accepts 40 or above" in done.err
    assert "peft-assay doctor" in done.err


def test_what_nothing_forbids_is_certified_as_before(world):
    assert world.run("certify", world.adapter("lora")).code == Door.PASSED
    assert world.verify()[0] == Door.PASSED
