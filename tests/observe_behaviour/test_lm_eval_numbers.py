"""An imported task gives lm-evaluation-harness's own numbers, on the same model."""

import json
from pathlib import Path

import pytest
import yaml

pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")
pytest.importorskip("lm_eval", reason="the extra lm-eval is not installed")

from peft_assay.observe.behaviour.conduct import conduct_suite
from peft_assay.observe.suites.read import read_suite
from peft_assay.pipeline.suites.importing import Wanted, import_file

BASE = Path(__file__).resolve().parents[2] / "examples" / "zoo" / "base"
pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]

CHOICE = {
    "task": "peft_assay_lookups",
    "dataset_path": "json",
    "test_split": "test",
    "fewshot_split": "train",
    "fewshot_config": {"sampler": "first_n"},
    "num_fewshot": 1,
    "output_type": "multiple_choice",
    "description": "answers about {{ thing }} .\n\n",
    "doc_to_text": "{{ prompt }} ",
    "doc_to_choice": "{{ choices }}",
    "doc_to_target": "answer",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}
TEXT = {
    "task": "peft_assay_prefixes",
    "dataset_path": "json",
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "prompt",
    "doc_to_target": "{{ right }}",
    "generation_kwargs": {"until": [" "], "max_gen_toks": 6, "do_sample": False},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


@pytest.fixture(scope="module")
def model():
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(BASE, local_files_only=True)
    return AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32, local_files_only=True).eval(), tokenizer


@pytest.fixture(scope="module")
def ask(model):
    """The harness's own answers, outside of a sandbox."""
    from importlib import import_module

    from peft_assay_harness.engines import engine_for
    from peft_assay_harness.session import Session

    session = Session(engine_for("causal-lm", *model), model[0], None)
    return lambda request: import_module(f"peft_assay_harness.ops.{request['op']}").answer(session, request)


def theirs(model, task, tmp_path):
    """lm-evaluation-harness on the same model: the metric, and what it saw of each document."""
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    path = tmp_path / "task.yaml"
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    model, tokenizer = model
    found = lm_eval.simple_evaluate(
        HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4, device="cpu"),
        tasks=[yaml.safe_load(path.read_text())["task"]],
        task_manager=manager, log_samples=True, bootstrap_iters=0,
    )  # fmt: skip
    samples = sorted(found["samples"][task["task"]], key=lambda sample: sample["doc_id"])
    return found["results"][task["task"]], samples


def ours(ask, tmp_path):
    import_file(tmp_path / "task.yaml", tmp_path / "suite", Wanted())
    header, cases = ((tmp_path / "suite" / name).read_bytes() for name in ("suite.yaml", "cases.jsonl"))
    suite = read_suite(header, cases, where="imported")
    answers = conduct_suite(ask, suite).by_case()
    return [answers[case.id] for case in suite.cases]


def write(tmp_path, task, monkeypatch, **splits):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    for split, rows in splits.items():
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = {"data_files": {split: f"{split}.jsonl" for split in splits}}
    (tmp_path / "task.yaml").write_text(yaml.safe_dump({**task, "dataset_kwargs": data}))


def zoo_cases(name, n):
    lines = (BASE.parent / "suites" / name / "cases.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[:n]]


def test_log_likelihoods_and_accuracy_of_choices(model, ask, tmp_path, monkeypatch):
    rows = [{**case, "thing": case["prompt"].split()[-4]} for case in zoo_cases("lookups", 30)]
    write(tmp_path, CHOICE, monkeypatch, test=rows[2:], train=rows[:2])
    result, samples = theirs(model, CHOICE, tmp_path)
    answers = ours(ask, tmp_path)
    assert len(answers) == len(samples) == 28
    for answer, sample in zip(answers, samples, strict=True):
        their_scores = [float(response[0][0]) for response in sample["resps"]]
        assert answer.scores == pytest.approx(their_scores, abs=1e-4)
        assert answer.passed == bool(sample["acc"])
    assert sum(answer.passed for answer in answers) / 28 == pytest.approx(result["acc,none"])
    assert 0 < result["acc,none"] < 1, "a positive control: some right, some wrong"


def test_texts_and_exact_matches_of_generation(model, ask, tmp_path, monkeypatch):
    cases = zoo_cases("support_task", 12)
    texts = ask({"op": "generate", "prompts": [case["prompt"] for case in cases], "maxNewTokens": 6})["texts"]
    rows = [
        {"prompt": case["prompt"], "right": text.split(" ")[0] if at % 2 else "something"}
        for at, (case, text) in enumerate(zip(cases, texts, strict=True))
    ]
    write(tmp_path, TEXT, monkeypatch, test=rows)
    result, samples = theirs(model, TEXT, tmp_path)
    answers = ours(ask, tmp_path)
    for answer, sample in zip(answers, samples, strict=True):
        assert answer.text.split(" ")[0] == sample["resps"][0][0]
        assert answer.passed == bool(sample["exact_match"])
    assert sum(answer.passed for answer in answers) / 12 == pytest.approx(result["exact_match,none"])
    assert 0 < result["exact_match,none"] < 1, "a positive control: some right, some wrong"
