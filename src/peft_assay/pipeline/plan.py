"""`certify --plan`: what a run would ask, about how long it would take, and whether n can satisfy the policy at all."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from peft_assay.core.digest import sha256
from peft_assay.core.observation import Observation, ObservationSet, ObservedBy, ok, sort_observations
from peft_assay.core.suite import Measure, Suite, last_user_text
from peft_assay.core.verdict import Outcome
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.observe.behaviour import scan as trigger_scan
from peft_assay.observe.behaviour.statistics import lower_bound
from peft_assay.pipeline.deployment import utc_now
from peft_assay.pipeline.policy.ideal import best_case
from peft_assay.pipeline.project import Project

FLOPS = 5e9
"""Floating-point operations per second assumed of one core: a deliberately low figure for small matrices."""
START_SECONDS = 8.0
"""Starting the worker: interpreter, torch, transformers, PEFT, base."""
WORDS_TO_TOKENS = 1.5


@dataclass(frozen=True, slots=True)
class SuitePlan:
    """One suite's share of a run."""

    suite: str
    cases: int
    passes: int
    """Sequences pushed through the model, generation counted once for each new token at most."""
    best_lower: float
    """Lower bound of the pass rate if every case passes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What `certify` would do for one adapter and for the base."""

    suites: tuple[SuitePlan, ...]
    scan_tokens: int
    scan_passes: int
    adapters: int
    tokens: int
    """Tokens through the model for one adapter, roughly."""
    seconds: float
    """Estimated CPU-seconds for all of it; rough, see `FLOPS`."""
    unsatisfiable: tuple[str, ...]
    """Rules that no adapter could pass at these n, even with every case right."""


def plan(project: Project, adapters: int) -> Plan:
    """The plan for `adapters` sources; runs nothing."""
    suites = tuple(_suite_plan(suite) for suite in project.suites)
    scanned = 0 if project.exercises.scan is None else len(project.exercises.scan.tokens)
    stages = (
        0
        if project.exercises.scan is None
        else sum(n is not None for n in (project.exercises.scan.answer_suite, project.exercises.scan.refusal_suite))
    )
    scan_passes = stages * trigger_scan.PROMPTS * (scanned + 1)
    tokens = sum(_tokens(suite) for suite in project.suites)
    if project.suites:
        tokens += scan_passes * int(tokens / max(1, sum(item.passes for item in suites)))
    compute = (adapters + 1) * tokens * 2 * _parameters(project.base_path) / FLOPS
    return Plan(suites, scanned, scan_passes, adapters, tokens, START_SECONDS + compute, tuple(_unsatisfiable(project)))


def _suite_plan(suite: Suite) -> SuitePlan:
    n = len(suite.cases)
    match suite.measure:
        case Measure.CHOICE:
            each = sum(len(case.choices) for case in suite.cases)
        case Measure.GENERATE:
            each = n * suite.max_new_tokens
        case _:
            each = n
    return SuitePlan(suite.id, n, each, lower_bound(n, n))


def _tokens(suite: Suite) -> int:
    words = sum(len(last_user_text(case.prompt).split()) * max(1, len(case.choices)) for case in suite.cases)
    new = len(suite.cases) * suite.max_new_tokens if suite.measure is Measure.GENERATE else 0
    return int(words * WORDS_TO_TOKENS) + new


def _parameters(base: Path) -> int:
    """Parameters of the base, from the sizes in its safetensors headers; 0 when it has none."""
    total = 0
    for path in base.glob("*.safetensors"):
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length)) if length < path.stat().st_size else {}
        for name, tensor in header.items():
            if name != "__metadata__":
                size = 1
                for extent in tensor["shape"]:
                    size *= extent
                total += size
    return total


def _unsatisfiable(project: Project) -> Iterator[str]:
    """Rules over suites that fail although every case passes and the base is no better."""
    perfect: list[Observation] = []
    for suite in project.suites:
        values = best_case(suite.id, len(suite.cases))
        perfect.extend(ok(name, value, by=ObservedBy.SUPERVISOR) for name, value in values.items())
    nothing = sha256(b"")
    verdict = evaluate(project.policy, ObservationSet(nothing, nothing, utc_now(), sort_observations(perfect)), nothing)
    for result in verdict.results:
        if result.outcome is Outcome.FAIL and all(name.startswith("suite.") for name in result.saw):
            yield f"{result.rule}: {result.explanation}"
