"""Certifying again: what is reused, what is observed anew, what is counted, and what a policy edit costs."""

import pytest

from peft_assay.core.digest import parse_digest
from peft_assay.evaluate.builtin import builtin_policy
from peft_assay.pipeline.sources import Located, names_of
from peft_assay.store.ledger import Kind
from pipeline.certified_world import ADAPTERS, OUTCOMES, ZOO

pytestmark = pytest.mark.sandbox


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
        assert (
            mine.index(Kind.ADMITTED) < mine.index(Kind.ATTEMPT) < mine.index(Kind.OBSERVED) < mine.index(Kind.VERDICT)
        )


def entry_of(done, name):
    return next(entry for entry in done.document if entry["adapter"] == name)


def test_a_policy_edit_costs_no_observation_and_fresh_does(world, pristine):
    """One run after an edit of the policy and of one adapter's declared rights, and one that observes anew."""
    first = entry_of(pristine.certified, "prompt")
    (world.project / "policy.yaml").write_text(
        builtin_policy("default").decode().replace("floor: 0.7\n", "floor: 0.69\n")
    )
    world.edit("builtin:default", "./policy.yaml")
    declared = declare(world, "no-licence")
    assert world.verify("prompt")[0] == 12
    done = world.json("certify", world.adapter("prompt"), world.adapter("no-licence"))

    edited = entry_of(done, "prompt")
    assert (edited["outcome"], edited["attempts"]) == ("PASS", first["attempts"] + 1)
    assert edited["certificate"]["observations"] == first["certificate"]["observations"]
    assert edited["certificate"]["observedAt"] == first["certificate"]["observedAt"]
    assert edited["policy"] != first["policy"]
    assert edited["lock"] != first["lock"]
    rights_end_with_their_declaration(world, entry_of(done, "no-licence"), declared)

    fresh = entry_of(world.json("certify", world.adapter("prompt"), "--fresh"), "prompt")
    assert (fresh["outcome"], fresh["attempts"]) == ("PASS", edited["attempts"] + 1)
    assert fresh["lock"] == edited["lock"]
    assert fresh["certificate"]["observations"] != edited["certificate"]["observations"]
    assert world.verify("prompt")[0] == 0
    with world.open() as deployment:
        assert deployment.workspace.attempts(parse_digest(fresh["artifact"]["digest"])) == 3
        deployment.workspace.audit()


def declare(world, name):
    digest = world.json("inspect", world.adapter(name)).document["artifact"]["digest"]
    declared = f"  declared:\n    {digest}: {{licence: apache-2.0, reason: the publisher wrote to us}}\n"
    world.edit("rights:\n", "rights:\n" + declared)
    return declared


def rights_end_with_their_declaration(world, entry, declared):
    """A legal decision about one adapter: its certificate lives as long as it, and no other adapter is touched."""
    assert entry["outcome"] == "PASS"
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
    local = {path: Located(str(path), path) for path in (one, two, three)}
    assert names_of([local[one], local[three]]) == ["x", "y"]
    assert names_of(list(local.values())) == [str(one), str(two), "y"]


def test_what_was_fetched_is_named_by_its_reference_and_never_by_the_cache(tmp_path):
    pinned = f"hf://org/name@{'a' * 40}"
    cached = Located(pinned, tmp_path / "hub" / "org--name@aaa", remote=True)
    gone = Located("s3://bucket/some/adapter", None, remote=True)
    assert names_of([cached, gone]) == ["name", "adapter"]
    assert names_of([cached, Located(pinned.replace("org", "other"), None, remote=True)])[0] == pinned


def test_a_base_that_was_certified_by_mistake_is_in_no_later_report(world):
    mistaken = world.json("certify", "base")
    (entry,) = mistaken.document
    assert entry["outcome"] == "FAIL"
    assert "base" not in world.json("report").document["adapters"]
    assert world.json("report", "base").document["adapters"] == ["base"]
    explained = world.json("policy", "explain").document["adapters"]
    assert "base" not in {one["adapter"] for one in explained}
