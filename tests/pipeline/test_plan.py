"""`certify --plan`: what is certain before anything runs is said before anything runs."""

import re

import pytest

from peft_assay.core.errors import Door
from pipeline.certified_world import ZOO

SCAN = re.search(r"(?m)^scan:.*\n(?:  .*\n)+", (ZOO / "peft-assay.yaml").read_text())[0]


def plan(world, *sources):
    done = world.json("certify", "--plan", *(sources or (world.adapter("lora"),)))
    return done.code, done.document


def test_a_context_that_leaves_nothing_open_passes(world):
    code, document = plan(world)
    assert code == Door.PASSED
    for name in ("unsatisfiable", "undecidable", "remarks", "absent", "exercises"):
        assert document[name] == [], name
    assert document["parameters"] > 100_000
    assert document["engine"] == "peft, float32, rank up to 32"
    assert not document["chat_template"]


def test_an_engine_that_is_not_observed_fails_before_it_is_run(world):
    world.edit("name: peft", "name: vllm")
    code, document = plan(world)
    assert code == Door.FAILED
    (why,) = document["unsatisfiable"]
    assert why.startswith("stack: ")
    assert "observed on peft; the context declares vllm" in why


@pytest.mark.parametrize(
    ("old", "new", "rules", "reason"),
    [
        (
            SCAN,
            "",
            ["trigger-scan", "scan-ids", "refusals"],
            "the context declares no token set to scan",
        ),
        ("  refusals: refusals\n", "", ["refusals"], "scan.refusals names no suite"),
    ],
)
def test_what_no_adapter_can_show_here_is_named_with_its_rule(world, old, new, rules, reason):
    world.edit(old, new)
    code, document = plan(world)
    assert code == Door.INDETERMINATE
    assert [why.split(":")[0] for why in document["undecidable"]] == rules
    assert all(reason in why for why in document["undecidable"])
    text = world.run("certify", "--plan", world.adapter("lora")).out
    assert f"cannot be decided: {document['undecidable'][0]}" in text
    assert f"then: peft-assay certify --trust {world.trust} {world.adapter('lora')} --plan" in text


def test_a_rule_about_exercises_needs_them_declared(world):
    rules = "rules:\n  - {id: canaries, assert: size(canaries.exposed) == 0, why: w}\n"
    head = "apiVersion: peft-assay/v1\nkind: Policy\nid: p\ndescription: d\n"
    (world.project / "policy.yaml").write_text(head + rules)
    world.edit("policy: builtin:default", "policy: ./policy.yaml")
    assert plan(world)[0] == Door.INDETERMINATE
    (world.project / "canaries.txt").write_text("the code is {4 9 2 9}\n")
    world.document.write_text(world.document.read_text() + "behaviour: {canaries: {file: canaries.txt}}\n")
    code, document = plan(world)
    assert (code, document["exercises"]) == (Door.PASSED, ["canaries: 1"])


def test_what_is_not_there_is_not_planned_for(world):
    code, document = plan(world, world.adapter("lora"), "../nothere", "support")
    assert (code, document["absent"], document["adapters"]) == (Door.REFUSED, ["../nothere"], 3)


def test_a_licence_that_nobody_knows_is_asked_about(world):
    world.edit("licence: apache-2.0", "licence: apache2")
    world.edit("zoo/support-dialogues: cc-by-4.0", "zoo/support-dialogues: our own terms")
    document = plan(world)[1]
    assert len(document["remarks"]) == 2
    assert "context.base.licence: 'apache2'" in document["remarks"][0]
    assert "did you mean apache-2.0?" in document["remarks"][0]
    assert "did you mean" not in document["remarks"][1]
    shown = world.run("rights", "show", world.adapter("no-licence")).out
    assert "did you mean apache-2.0 (peft-assay.yaml: base)?" in shown
    assert "rights.datasets in peft-assay.yaml, zoo/support-dialogues" in shown
