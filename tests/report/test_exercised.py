"""What came of the exercises that a context declares: a line for people, values for programs."""

import json
from dataclasses import replace
from typing import Any

from peft_assay.core.context import Lock
from peft_assay.report import jsonout, terminal
from peft_assay.report.interface import CertificationReport
from report.report_support import LOCK, report

SEEN = {
    "variation.n": 120,
    "variation.excess": 0.275,
    "variation.excess_upper": 0.474,
    "variation.worst": "length on support_task",
    "canaries.n": 3,
    "canaries.exposed": ("canary 2: 9.1 bits, base 1.0, rank 1 of 1001",),
}
DECLARED = {"variations": ["length"], "canaries": {"references": 1000}, "scales": [], "leaks": None, "latency": True}


def exercised(declared: dict[str, Any], seen: dict[str, Any]) -> CertificationReport:
    conditions = {**LOCK.document["conditions"], "exercises": declared}
    return replace(report("lora", seen), lock=Lock({**LOCK.document, "conditions": conditions}))


def document(of: CertificationReport) -> Any:
    return json.loads(jsonout.certification([of]))[0]


def test_what_is_declared_is_told_and_what_is_missing_is_said_to_be() -> None:
    of = exercised(DECLARED, SEEN)
    line = (
        "behaviour: variations: 27.5% of 120 right answers lost beyond the base's, at most 47.4% "
        "(worst: length on support_task); canaries: 1 of 3 exposed; latency: not observed"
    )
    assert f"  {line}\n" in terminal.certification([of], tty=False)
    assert "canaries: 1 of 3 exposed" in terminal.certification([of], tty=True)
    assert document(of)["behaviour"] == {
        **SEEN, "canaries.exposed": list(SEEN["canaries.exposed"]), "resources.latency_ratio": None  # type: ignore[call-overload]
    }  # fmt: skip


def test_nothing_declared_is_no_line() -> None:
    for of in (report("lora"), exercised({}, SEEN)):
        assert "behaviour" not in terminal.certification([of], tty=False)
        assert document(of)["behaviour"] == {}


def test_what_was_never_run_says_so_once() -> None:
    assert "  behaviour: not observed\n" in terminal.certification([exercised(DECLARED, {})], tty=False)


def test_kept_observations_are_called_kept() -> None:
    kept = replace(report("lora"), reused=True)
    assert "kept; nothing was run again" in terminal.certification([kept], tty=False)
    assert "1 on kept observations" in terminal.certification([kept], tty=True)
    assert "kept" not in terminal.certification([report("lora")], tty=False)
    assert (document(kept)["reused"], document(report("lora"))["reused"]) == (True, False)
