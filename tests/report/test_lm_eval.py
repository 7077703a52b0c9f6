"""Results in lm-evaluation-harness's format: its own table is drawn from them, and nothing hostile gets through."""

import json
from importlib.util import find_spec

import pytest

from peft_assay.core.digest import sha256
from peft_assay.core.suite import Measure, ScorerKind
from peft_assay.report.interface import CaseResult, SuiteResult
from peft_assay.report.lm_eval import render_lm_eval
from report.report_support import report

CHOICE = CaseResult("c1", "which ?", ("this", "that"), "that", "this", (-1.5, -2.25), passed=False)
TEXT = CaseResult("t1", [{"role": "user", "content": "say \u202e it"}], (), "it", "\x1b[31mit", (), passed=True)


def result(name, kind, cases, n=4, passes=3):
    measure = Measure.CHOICE if kind is ScorerKind.CHOICE else Measure.GENERATE
    return SuiteResult(name, "2", sha256(name.encode()), measure, kind, 24, n, passes, 0.25, 0.98, cases)


RESULTS = (
    result("lookups", ScorerKind.CHOICE, (CHOICE,)),
    result("task", ScorerKind.EXACT, (TEXT,)),
    result("secret", ScorerKind.REGEX, (), n=1, passes=1),
)


@pytest.fixture
def document():
    return json.loads(render_lm_eval(report("lora"), RESULTS))


def test_numbers_stand_under_the_formats_names_and_bounds_beside_them(document):
    numbers = document["results"]["lookups"]
    assert numbers["acc,none"] == 0.75
    assert numbers["acc_stderr,none"] == pytest.approx(0.25)
    assert (numbers["acc_lower95,none"], numbers["acc_upper95,none"]) == (0.25, 0.98)
    assert document["results"]["task"]["exact_match,none"] == 0.75
    assert document["results"]["secret"]["pass_rate_stderr,none"] == "N/A"
    assert document["n-samples"]["lookups"] == {"original": 4, "effective": 4}


def test_samples_are_those_of_the_format(document):
    choice, text = document["samples"]["lookups"][0], document["samples"]["task"][0]
    assert choice["arguments"]["gen_args_1"] == {"arg_0": "which ?", "arg_1": " that"}
    assert choice["resps"] == [[["-1.5", "unknown"]], [["-2.25", "unknown"]]]
    assert (choice["target"], choice["acc"]) == ("that", 0.0)
    assert text["filtered_resps"] == ["\x1b[31mit"]
    assert text["exact_match"] == 1.0
    assert document["samples"]["secret"] == []


def test_what_was_evaluated_is_named_by_digest(document):
    made = report("lora")
    assert document["config"]["model_args"]["artifact"] == made.artifact.digest
    assert document["peft_assay"]["lock"] == made.lock.digest
    assert document["task_hashes"]["task"] == sha256(b"task")


def test_hostile_text_is_escaped():
    assert render_lm_eval(report("lora"), RESULTS).isascii()
    assert "\x1b" not in render_lm_eval(report("lora"), RESULTS)


@pytest.mark.skipif(find_spec("lm_eval") is None, reason="the extra lm-eval is not installed")
@pytest.mark.filterwarnings("ignore")
def test_lm_evaluation_harness_draws_its_table_from_it(document):
    from lm_eval.utils import make_table

    table = make_table(document)
    assert "lookups" in table
    assert "0.75" in table
