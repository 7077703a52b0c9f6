"""Answers are kept, signed, for the next run: after an edit only what is new is asked, and ages count from the oldest."""

import json

import pytest

from peft_assay.core.errors import Door
from peft_assay.sandbox.supervisor import Supervisor
from peft_assay.store.ledger import Kind

pytestmark = pytest.mark.sandbox


@pytest.fixture
def asked(monkeypatch):
    """Every question that any child was asked, in order."""
    questions = []
    run = Supervisor.run

    def listening(self, job, converse):
        def overhear(ask):
            def heard(question):
                questions.append((job.adapter is None, question))
                return ask(question)

            converse(heard)

        return run(self, job, overhear)

    monkeypatch.setattr(Supervisor, "run", listening)
    return questions


def cases_of(world, name):
    return world.project / "suites" / name / "cases.jsonl"


def prompts_of(world, name="support_task"):
    return [json.loads(line)["prompt"] for line in cases_of(world, name).read_text().splitlines()]


def edit_one_case(world, name="support_task"):
    path = cases_of(world, name)
    lines = path.read_text().splitlines()
    case = json.loads(lines[0])
    lines[0] = json.dumps({**case, "prompt": case["prompt"].replace(" ?", " please ?")})
    path.write_text("\n".join(lines) + "\n")
    return json.loads(lines[0])["prompt"]


def answered(world):
    with world.open() as deployment:
        return [entry.happened for entry in deployment.workspace.history() if entry.kind is Kind.ANSWERED]


def test_after_an_edit_only_the_new_case_is_asked_and_the_age_counts_from_the_oldest_answer(world, asked, pristine):
    first = next(e for e in pristine.certified.document if e["adapter"] == "lora")["certificate"]["observedAt"]
    prompt = edit_one_case(world)
    of_suite = set(prompts_of(world))
    (done,) = world.json("certify", world.adapter("lora")).document
    assert done["outcome"] == "PASS"
    assert done["certificate"]["observedAt"] <= first
    for of_base in (True, False):
        generated = [
            question["prompts"]
            for base, question in asked
            if base is of_base and question["op"] == "generate" and "margins" in question
        ]
        # A round of the scan repeats clean prompts, this one perhaps, among prompts that no suite has.
        of_cases_alone = [prompts for prompts in generated if of_suite.issuperset(prompts)]
        assert of_cases_alone == [[prompt]], "the edited case alone is asked of the suite it belongs to"


def test_fresh_asks_everything(world, asked):
    world.json("certify", world.adapter("lora"), "--fresh")
    assert max(len(question["prompts"]) for _, question in asked if question["op"] == "generate") == 40


def test_what_was_altered_is_not_believed(world):
    """Positive control: unaltered, the same command passes (above)."""
    with world.open() as deployment:
        envelopes = {what["envelope"] for what in answered(world)}
        folder = deployment.workspace.blobs.folder
    for digest in envelopes:
        name = digest.removeprefix("sha256:")
        path = folder / "sha256" / name[:2] / name
        path.chmod(0o600)
        path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
    edit_one_case(world)
    assert world.json("certify", world.adapter("lora")).code == Door.TRUST
