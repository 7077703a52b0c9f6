"""The section `behaviour` of peft-assay.yaml: what it declares, and what it refuses with field and reason."""

import shutil
from pathlib import Path

import pytest

from peft_assay.core.errors import DocumentError
from peft_assay.core.exercises import ClaimedTask
from peft_assay.pipeline.project import load_project

ZOO = Path(__file__).resolve().parents[2] / "examples" / "zoo"
CLAIM = "{task: text-generation, dataset: zoo/support, metric: accuracy}"


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("behaviour") / "zoo"
    shutil.copytree(ZOO, folder, ignore=shutil.ignore_patterns("adapters", "build"))
    return folder


def load(zoo, section):
    path = zoo / "peft-assay.yaml"
    plain = (ZOO / "peft-assay.yaml").read_text()
    path.write_text(f"{plain}\nbehaviour:\n{section}\n")
    return load_project(path)


def test_what_is_declared_stands_in_the_exercises(zoo):
    section = f"  offTask: [refusals]\n  claims:\n    support_task: {CLAIM}\n    lookups: {CLAIM}"
    exercises = load(zoo, section).exercises
    assert exercises.off_task == ("refusals",)
    claims = [ClaimedTask(suite, "text-generation", "zoo/support", "accuracy") for suite in ("lookups", "support_task")]
    assert exercises.claims == tuple(claims)
    assert exercises.document()["claims"][0] == {
        "suite": "lookups",
        "task": "text-generation",
        "dataset": "zoo/support",
        "metric": "accuracy",
    }


@pytest.mark.parametrize(
    ("section", "field", "why"),
    [
        ("  offTask: [nowhere]", "behaviour.offTask.0", "'nowhere' is not a suite of generated text"),
        ("  offTask: [refusals, lookups]", "behaviour.offTask.1", "'lookups' is not a suite of generated text"),
        ("  offTask: [refusals, refusals]", "behaviour.offTask.1", "'refusals' is named twice"),
        ("  offTask: refusals", "behaviour.offTask", "must be a list"),
        (f"  claims: {{nowhere: {CLAIM}}}", "behaviour.claims.nowhere", "is no suite of this document"),
        ("  claims: {lookups: {task: a, dataset: b}}", "behaviour.claims.lookups.metric", "is missing"),
        ("  claims: {lookups: {task: a, dataset: b, metric: ''}}", "behaviour.claims.lookups.metric", "is empty"),
        ("  onTask: [refusals]", "behaviour.onTask", "is not known here"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_field(zoo, section, field, why):
    with pytest.raises(DocumentError) as caught:
        load(zoo, section)
    assert field in str(caught.value)
    assert why in str(caught.value).replace("Field", "field").replace("Extra", "extra")
