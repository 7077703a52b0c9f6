"""Drift, coherence, claims, base match and resources of real adapters, through the real sandbox."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from peft_assay.core.context import Lock
from peft_assay.core.digest import parse_digest
from peft_assay.core.observation import Status
from pipeline.certified_world import ZOO, World

pytestmark = pytest.mark.sandbox

CASES = 12
SECTION = """
behaviour:
  latency: true
  offTask: [refusals]
  claims:
    support_task: {task: text-generation, dataset: zoo/support, metric: accuracy}
"""
CLAIM = """model-index:
- name: lora
  results:
  - task: {type: text-generation}
    dataset: {type: zoo/support, name: Support}
    metrics: [{type: accuracy, value: 0.55}, {type: accuracy, value: 98.5}]
"""
LOUD = 40.0
"""So many times its own strength, an adapter drowns the base."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Observations of an adapter and of the same one far too strong, by name."""
    world = World(tmp_path_factory.mktemp("observed"))
    shutil.copytree(ZOO, world.project, ignore=shutil.ignore_patterns("adapters", "build", ".peft-assay"))
    text = world.document.read_text()
    world.document.write_text(text[: text.index("\nscan:")] + text[text.index("\nrights:") :] + SECTION)
    for cases in world.project.glob("suites/*/cases.jsonl"):
        cases.write_text("".join(cases.read_text().splitlines(keepends=True)[:CASES]))
    for name in ("lora", "loud"):
        shutil.copytree(ZOO / "adapters" / "lora", world.project / "adapters" / name)
    card = world.project / "adapters" / "lora" / "README.md"
    card.write_text(card.read_text().replace("tags:\n", f"{CLAIM}tags:\n", 1))
    weights = world.project / "adapters" / "loud" / "adapter_model.safetensors"
    louder = {name: np.float32(LOUD if "lora_B" in name else 1) * tensor for name, tensor in load_file(weights).items()}
    save_file(louder, weights, metadata={"format": "pt"})
    assert world.run("init", ".").code == 0
    reports = world.json("certify", world.adapter("lora"), world.adapter("loud")).document
    return {report["adapter"]: observations(world, report) for report in reports}


def observations(world, report):
    with world.open() as deployment:
        lock = Lock(json.loads(deployment.workspace.blobs.get(parse_digest(report["lock"]))))
        artifact = parse_digest(report["artifact"]["digest"])
        envelope = deployment.workspace.latest_observations(artifact, lock.conditions)
        return {o.name: o for o in deployment.record_of(envelope).observations.observations}


def test_an_adapter_departs_from_its_base_on_its_task_and_nowhere_else(seen):
    found = {name: observation.value for name, observation in seen["lora"].items()}
    assert found["suite.support_task.kl_mean"] > 1
    assert found["suite.support_task.first_divergence"] < 0.5
    assert found["drift.off_task_kl"] == found["suite.refusals.kl_mean"] < 0.01
    assert found["drift.off_task_agreement"] == 1
    assert found["match.log_likelihood_change"] > -0.01
    assert found["suite.support_task.degenerate"] == found["suite.refusals.degenerate"] == 0
    assert seen["lora"]["drift.off_task_kl"].evidence is not None


def test_on_a_base_that_it_does_not_fit_ordinary_text_is_no_longer_likely(seen):
    found = {name: observation.value for name, observation in seen["loud"].items()}
    assert found["match.log_likelihood_change"] < -1
    assert found["drift.off_task_kl"] > 1
    assert found["suite.refusals.degenerate"] > CASES / 2


def test_the_card_is_held_to_what_it_claims(seen):
    assert seen["lora"]["claims.checked"].value == 2
    (contradicted,) = seen["lora"]["claims.contradicted"].value
    assert "accuracy on zoo/support is claimed to be 0.55" in contradicted
    assert (seen["loud"]["claims.checked"].value, seen["loud"]["claims.contradicted"].value) == (0, ())


def test_the_supervisor_reads_time_and_memory(seen):
    for found in seen.values():
        assert found["resources.latency_ratio"].value > 0
        assert found["resources.latency_ratio"].status is Status.OK
        assert 50 << 20 < found["resources.peak_bytes"].value < 4 << 30
    assert 1 < seen["lora"]["resources.length_ratio"].value < 2
