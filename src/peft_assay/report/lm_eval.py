"""A certification's suites in the results format of lm-evaluation-harness (`lm_eval.result_schema`, version 0.4.13).

One document for one adapter, samples inside, as `simple_evaluate` gives it. Tools that read such files show a task for
each suite; beside the format's own numbers stand ours, by other names: exact bounds, and digests of what was evaluated.
Whether a choice is also what greedy decoding gives was not asked, and is said to be unknown.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any

from peft_assay.core.suite import Measure, ScorerKind
from peft_assay.report import sink
from peft_assay.report.interface import CaseResult, CertificationReport, SuiteResult

FILTER = "none"
METRICS = {ScorerKind.CHOICE: "acc", ScorerKind.LABEL: "acc", ScorerKind.EXACT: "exact_match"}
OTHER = "pass_rate"


def render_lm_eval(report: CertificationReport, results: Sequence[SuiteResult]) -> sink.Rendered:
    """`report`'s adapter as one results document."""
    artifact = report.artifact
    stack = {} if report.lock is None else dict(report.lock.document["conditions"].get("engine", {}))
    return sink.json_text(
        {
            "results": {result.id: _numbers(result) for result in results},
            "group_subtasks": {result.id: [] for result in results},
            "configs": {result.id: _configuration(result) for result in results},
            "versions": {result.id: result.version for result in results},
            "n-shot": {result.id: 0 for result in results},
            "higher_is_better": {result.id: {_metric(result): True} for result in results},
            "n-samples": {result.id: {"original": result.n, "effective": result.n} for result in results},
            "samples": {
                result.id: [_sample(at, case, result) for at, case in enumerate(result.cases)] for result in results
            },
            "config": {
                "model": "peft-assay",
                "model_args": {"peft": report.source, "artifact": None if artifact is None else artifact.digest},
                "model_dtype": stack.get("dtype"),
                "bootstrap_iters": 0,
            },
            "date": report.generated_at.timestamp(),
            "model_source": "peft-assay",
            "model_name": report.adapter,
            "task_hashes": {result.id: result.digest for result in results},
            "peft_assay": {
                "context": report.context,
                "outcome": report.outcome.value,
                "lock": None if report.lock is None else report.lock.digest,
                "certificate": None if report.certificate is None else report.certificate.envelope,
            },
        }
    )


def _metric(result: SuiteResult) -> str:
    return METRICS.get(result.scorer, OTHER)


def _numbers(result: SuiteResult) -> dict[str, Any]:
    rate, metric = result.passes / result.n, _metric(result)
    return {
        "name": result.id,
        "alias": result.id,
        "sample_len": result.n,
        f"{metric},{FILTER}": rate,
        f"{metric}_stderr,{FILTER}": math.sqrt(rate * (1 - rate) / (result.n - 1)) if result.n > 1 else "N/A",
        f"{metric}_lower95,{FILTER}": result.lower,
        f"{metric}_upper95,{FILTER}": result.upper,
    }


def _configuration(result: SuiteResult) -> dict[str, Any]:
    kind = {Measure.CHOICE: "multiple_choice", Measure.GENERATE: "generate_until"}.get(result.measure)
    return {"task": result.id, "output_type": kind or result.measure.value, "scorer": result.scorer.value}


def _sample(at: int, case: CaseResult, result: SuiteResult) -> dict[str, Any]:
    document = {"id": case.id, "prompt": case.prompt, "choices": list(case.choices)}
    if case.choices:
        arguments: list[dict[str, Any]] = [{"arg_0": case.prompt, "arg_1": f" {choice}"} for choice in case.choices]
        answers: list[Any] = [[str(score), "unknown"] for score in case.scores]
    else:
        arguments = [{"arg_0": case.prompt, "arg_1": {"max_gen_toks": result.max_new_tokens, "do_sample": False}}]
        answers = [case.text]
    return {
        "doc_id": at,
        "doc": document,
        "target": case.target,
        "arguments": {f"gen_args_{number}": argument for number, argument in enumerate(arguments)},
        "resps": [[answer] for answer in answers],
        "filtered_resps": answers,
        "filter": FILTER,
        "metrics": [_metric(result)],
        "doc_hash": _hash(json.dumps(document, indent=2, ensure_ascii=False)),
        "prompt_hash": _hash(case.prompt if isinstance(case.prompt, str) else json.dumps(case.prompt)),
        "target_hash": _hash(case.target),
        _metric(result): float(case.passed),
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
