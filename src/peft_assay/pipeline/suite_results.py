"""What the suites measured of one adapter, from its signed observations and the evidence behind them, for exports."""

from collections.abc import Iterator, Mapping
from typing import Any

from peft_assay.core.errors import UsageError
from peft_assay.core.observation import ObservationSet, Status
from peft_assay.core.suite import Case, Suite
from peft_assay.pipeline.certify import Certification
from peft_assay.pipeline.deployment import Deployment
from peft_assay.pipeline.reporting import PUBLIC, evidence_behind
from peft_assay.report.interface import CaseResult, SuiteResult


def suite_results(deployment: Deployment, done: Certification) -> tuple[SuiteResult, ...]:
    """One result for each suite that was observed; raises UsageError when none was.

    A suite that was edited since is left out: its numbers are not of the cases that it has now.
    """
    record, lock = done.record, done.lock
    if record is None or lock is None:
        raise UsageError(f"nothing was observed of {done.source}", next_step=f"peft-assay certify {done.source}")
    observed: Mapping[str, Any] = lock.document["conditions"]["suites"]
    evidence = evidence_behind(deployment, record).get("suites", {})
    results = tuple(
        result
        for suite in deployment.project.suites
        if observed.get(suite.id) == suite.digest
        for result in _result(suite, record.observations, evidence.get(suite.id, ()))
    )
    if not results:
        raise UsageError(
            f"no suite of {deployment.project.path} was observed with {done.source} as it is now",
            next_step=f"peft-assay certify {done.source}",
        )
    return results


def _result(suite: Suite, seen: ObservationSet, answers: Any) -> Iterator[SuiteResult]:
    values = {name: seen.get(f"suite.{suite.id}.{name}") for name in ("n", "passes", "lower", "upper")}
    if any(value is None or value.status is not Status.OK for value in values.values()):
        return
    found = {name: value.value for name, value in values.items() if value is not None}
    public = suite.confidentiality == PUBLIC
    yield SuiteResult(
        id=suite.id,
        version=suite.version,
        digest=suite.digest,
        measure=suite.measure,
        scorer=suite.scorer.kind,
        max_new_tokens=suite.max_new_tokens,
        n=int(found["n"]),  # type: ignore[arg-type]
        passes=int(found["passes"]),  # type: ignore[arg-type]
        lower=float(found["lower"]),  # type: ignore[arg-type]
        upper=float(found["upper"]),  # type: ignore[arg-type]
        cases=tuple(_cases(suite, answers)) if public else (),
    )


def _cases(suite: Suite, answers: Any) -> Iterator[CaseResult]:
    by_id: dict[str, Case] = {case.id: case for case in suite.cases}
    for answer in answers:
        case = by_id[answer["case"]]
        target = case.expected if case.answer is None else case.choices[case.answer]
        yield CaseResult(
            id=case.id,
            prompt=suite.ask_form(case),
            choices=case.choices,
            target=target or "",
            text=answer["text"],
            scores=tuple(answer.get("scores") or ()),
            passed=answer["passed"],
        )
