"""Certifying again: what is reused, what is observed anew, what is counted, and what a policy edit costs."""

from datetime import timedelta

import pytest

from pipeline.certified_world import ADAPTERS, OUTCOMES, ZOO
from peft_assay.core.digest import parse_digest
from peft_assay.evaluate.builtin import builtin_policy
from peft_assay.pipeline.certify import names_of
from peft_assay.store.ledger import Kind

pytestmark = pytest.mark.sandbox


def certify(world, *arguments):
    (entry,) = world.json("certify", world.adapter("prompt"), *arguments).document
    return entry


def test_outcomes_are_those_of_the_zoo_and_the_ledger_has_each_step(pristine):
    entries = pristine.certified.document
    assert {entry["adapter"]: entry["outcome"] for entry in entries} == OUTCOMES
    with pristine.open() as deployment:
        history = deployment.workspace.history()
        kinds = [entry.kind for entry in history]
        deployment.workspace.audit()
    count = {kind: kinds.count(kind) for kind in set(kinds)}
    assert count[Kind.ATTEMPT] == count[Kind.ADMITTED] == count[Kind.OBSERVED] == count[Kind.VERDICT] == len(ADAPTERS)
    assert count[Kind.CERTIFIED] == 2


def test_attempts_are_recorded_before_anything_is_observed(pristine):
    with pristine.open() as deployment:
        steps = [(e.kind, e.happened["artifact"]) for e in deployment.workspace.history() if "artifact" in e.happened]
    for artifact in {artifact for _, artifact in steps}:
        mine = [kind for kind, of in steps if of == artifact]
        assert mine.index(Kind.ADMITTED) < mine.index(Kind.ATTEMPT) < mine.index(Kind.OBSERVED) < mine.index(Kind.VERDICT)


def test_again_fresh_and_under_another_policy(world, pristine):
    first = next(entry for entry in pristine.certified.document if entry["adapter"] == "prompt")
    again = certify(world)
    assert (again["outcome"], again["attempts"]) == ("PASS", 2)
    observed = again["certificate"]["observations"]
    assert observed == first["certificate"]["observations"]

    policy = builtin_policy("default").decode()
    (world.project / "policy.yaml").write_text(policy.replace("floor: 0.7\n", "floor: 0.69\n"))
    world.edit("builtin:default", "./policy.yaml")
    other = certify(world)
    assert other["outcome"] == "PASS"
    assert other["certificate"]["observations"] == observed
    assert other["policy"] != again["policy"]
    assert other["lock"] != again["lock"]

    fresh = certify(world, "--fresh")
    assert fresh["outcome"] == "PASS"
    assert fresh["certificate"]["observations"] != observed
    assert fresh["attempts"] == other["attempts"] + 1
    with world.open() as deployment:
        artifact = parse_digest(again["artifact"]["digest"])
        assert deployment.workspace.attempts(artifact) == 4
        record = deployment.record_of(deployment.workspace.blobs.get(parse_digest(fresh["certificate"]["observations"][0])))
        assert deployment.project.context.maximum_age == timedelta(days=30)
        assert record.artifact.digest == artifact
    assert world.verify("prompt")[0] == 0


def test_a_declared_licence_admits_and_taking_it_back_ends_that(world):
    """A legal decision about one adapter: its certificate lives as long as the decision, and no other is touched."""
    source = world.adapter("no-licence")
    digest = world.json("inspect", source).document["artifact"]["digest"]
    declared = f"  declared:\n    {digest}: {{licence: apache-2.0, reason: the publisher wrote to us}}\n"
    world.edit("rights:\n", "rights:\n" + declared)
    assert world.verify("prompt")[0] == 0
    (certified,) = world.json("certify", source).document
    assert certified["outcome"] == "PASS"
    assert world.verify("no-licence")[0] == 0
    world.edit(declared, "")
    code, denial = world.verify("no-licence")
    assert (code, denial["check"]) == (12, "certificate")
    assert "rights.declaredLicence" in denial["message"]
    assert world.verify("prompt")[0] == 0


def test_a_refused_source_enters_the_ledger_without_its_name(world):
    done = world.json("certify", str(ZOO / "adapters/two-configs.zip"))
    assert done.code == 3
    (entry,) = done.document
    assert (entry["outcome"], entry["door"], entry["rules"], entry["certificate"]) == ("REFUSED", 3, [], None)
    assert entry["nextStep"]
    with world.open() as deployment:
        last = [e for e in deployment.workspace.history() if e.kind is Kind.REFUSED][-1]
    assert "two-configs" not in str(last.happened)


def test_nothing_is_instantiated_that_is_not_shown_harmless(pristine):
    entry = next(e for e in pristine.certified.document if e["adapter"] == "pickle-weights")
    assert entry["decidingRule"] == "pickle"
    outcomes = {rule["id"]: rule["outcome"] for rule in entry["rules"]}
    assert outcomes["pickle"] == "FAIL"
    assert outcomes["task"] == "INDETERMINATE"
    task = next(rule for rule in entry["rules"] if rule["id"] == "task")
    assert set(task["saw"].values()) == {None}


def test_short_names_are_unique(tmp_path):
    one, two, three = tmp_path / "a/x", tmp_path / "b/x", tmp_path / "y"
    assert names_of([one, three]) == ["x", "y"]
    assert names_of([one, two, three]) == [str(one), str(two), "y"]
