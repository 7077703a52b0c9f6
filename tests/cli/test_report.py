"""`peft-assay report --format lm-eval`: the suites of one adapter, from what was signed."""

import json

import pytest

pytestmark = pytest.mark.sandbox


def test_one_adapters_suites_are_exported_with_the_answers_to_public_ones(world, tmp_path):
    target = tmp_path / "results.json"
    done = world.run("report", world.adapter("lora"), "--format", "lm-eval", "--output", str(target))
    assert done.code == 0, done.err
    document = json.loads(target.read_text())
    assert set(document["results"]) == {"lookups", "refusals", "support_task"}
    assert document["results"]["support_task"]["exact_match,none"] >= 0.95
    lookup = document["samples"]["lookups"][0]
    scores = [float(answer[0]) for answer in lookup["filtered_resps"]]
    likeliest = lookup["doc"]["choices"][scores.index(max(scores))]
    assert lookup["acc"] == float(likeliest == lookup["target"])
    assert len(document["samples"]["refusals"]) == document["n-samples"]["refusals"]["effective"] == 60


def test_a_confidential_suites_answers_stay(world, tmp_path):
    suite = world.project / "suites" / "refusals" / "suite.yaml"
    suite.write_text(suite.read_text().replace("confidentiality: public", "confidentiality: confidential"))
    target = tmp_path / "results.json"
    done = world.run("report", world.adapter("lora"), "--format", "lm-eval", "-o", str(target))
    assert done.code == 0, done.err
    assert "refusals" not in json.loads(target.read_text())["results"]  # edited since: not what was observed


@pytest.mark.parametrize("names", [(), ("lora", "prompt")])
def test_several_adapters_are_a_usage_error_with_the_next_step(world, names):
    done = world.run("report", *map(world.adapter, names), "--format", "lm-eval")
    assert done.code == 2
    assert "about one model" in done.err
    assert f"peft-assay report --trust {world.trust} SOURCE --format lm-eval" in done.err
