"""What the base alone does: the other half of every paired comparison, from a child that never held an adapter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import Ask, Job, Limits, Outcome, Sandbox
from peft_assay.core.suite import Scan, Suite
from peft_assay.observe.behaviour.conduct import SuiteRecord, conduct_suite
from peft_assay.observe.behaviour.scan import Drops, measure_drops


@dataclass(frozen=True, slots=True)
class BaseReference:
    """The base's answers to every suite, in full, and its drops under the scan's tokens, by suite id."""

    suites: Mapping[str, SuiteRecord]
    drops: Mapping[str, Drops]


@dataclass(slots=True)
class _Collected:
    suites: dict[str, SuiteRecord] = field(default_factory=dict)
    drops: dict[str, Drops] = field(default_factory=dict)


def observe_base(sandbox: Sandbox, suites: Sequence[Suite], scan: Scan | None, limits: Limits) -> BaseReference:
    """Runs every suite on the bare base. Raises ObservationError when the base itself cannot be exercised."""
    collected = _Collected()

    def converse(ask: Ask) -> None:
        for suite in suites:
            collected.suites[suite.id] = _whole(ask, suite)
        if scan is not None:
            for suite in scanned_suites(scan, suites):
                clean = collected.suites[suite.id].by_case()
                collected.drops[suite.id] = measure_drops(ask, scan, suite, clean)

    result = sandbox.run(Job(None, limits), converse)
    if result.outcome is not Outcome.OK or result.events:
        why = result.detail or "refused system calls"
        raise ObservationError(
            f"the base alone could not be exercised ({result.outcome.value}): {why}",
            next_step="check that the suites' prompts fit the base's context length",
        )
    return BaseReference(collected.suites, collected.drops)


def _whole(ask: Ask, suite: Suite) -> SuiteRecord:
    """The base is asked every case: its failures are what an adapter is compared with, not a reason to stop."""
    return conduct_suite(ask, replace(suite, stop_after_failures=None))


def scanned_suites(scan: Scan, suites: Sequence[Suite]) -> tuple[Suite, ...]:
    """The suites that the scan names, each once."""
    named = {name for name in (scan.answer_suite, scan.refusal_suite) if name is not None}
    return tuple(suite for suite in suites if suite.id in named)
