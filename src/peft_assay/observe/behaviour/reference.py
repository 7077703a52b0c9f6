"""What the base alone does: the other half of every paired comparison, from children that never held an adapter.

Where the sandbox has several workers, the base's suites are shared out among them, since all adapters wait for it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TypeVar

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import Ask, Job, Outcome, Sandbox
from peft_assay.core.suite import Measure, Suite
from peft_assay.observe.behaviour.catalogue import BEHAVIOUR_PROBES
from peft_assay.observe.behaviour.interface import Plan, Records, Turn
from peft_assay.observe.behaviour.lengths import LengthsRecord, measure_prompts
from peft_assay.observe.behaviour.memory import Memory
from peft_assay.observe.behaviour.probes.suites import SuitesProbe, SuitesRecord

Part = TypeVar("Part")
Told = TypeVar("Told")

CHARACTERS = 4
"""Of a token, about."""


def observe_base(sandbox: Sandbox, plan: Plan, memory: Memory | None = None, *, at_once: int = 1) -> Records:
    """Every probe's record of the bare base, which may remember what it answered before.

    `at_once`: how many jobs may run at the same time. Raises ObservationError when the base itself cannot be exercised,
    or cannot take a case.
    """
    remembered = memory or Memory()
    records = _shared_out(sandbox, plan, remembered, at_once) if min(at_once, len(plan.suites)) > 1 else Records()

    def converse(ask: Ask) -> None:
        if records.of(LengthsRecord) is None:
            records.keep(measure_prompts(ask, plan.suites))
        for probe in BEHAVIOUR_PROBES:
            if records.of(probe.kind) is None:
                record = probe.ask(Turn(ask, plan, records, None, remembered))
                if record is not None:
                    records.keep(record)

    _run(sandbox, plan, converse)
    return records


def _shared_out(sandbox: Sandbox, plan: Plan, memory: Memory, at_once: int) -> Records:
    """Lengths and answers of all suites, from as many jobs as may run at the same time."""

    def answers(suites: tuple[Suite, ...]) -> tuple[LengthsRecord, SuitesRecord]:
        part, found = replace(plan, suites=suites), Records()

        def converse(ask: Ask) -> None:
            found.keep(measure_prompts(ask, suites))
            found.keep(SuitesProbe().ask(Turn(ask, part, found, None, memory)))

        _run(sandbox, plan, converse)
        lengths, given = found.of(LengthsRecord), found.of(SuitesRecord)
        if lengths is None or given is None:
            raise ObservationError("the base gave no answers")
        return lengths, given

    told = _side_by_side(answers, _parts(plan.suites, at_once))
    records = Records()
    records.keep(LengthsRecord({name: both for lengths, _ in told for name, both in lengths.prompts.items()}))
    suites = {name: record for _, given in told for name, record in given.suites.items()}
    records.keep(SuitesRecord({suite.id: suites[suite.id] for suite in plan.suites}))
    return records


def _side_by_side(ask: Callable[[Part], Told], parts: Sequence[Part]) -> list[Told]:
    """What `ask` gives for each of `parts`; raises what the first one raises that fails, without waiting for others.

    They end when the sandbox is closed, as they do after an interruption.
    """
    threads = ThreadPoolExecutor(len(parts), "base")
    try:
        asked = [threads.submit(ask, part) for part in parts]
        ended, _ = wait(asked, return_when=FIRST_EXCEPTION)
        for one in ended:
            one.result()
        return [one.result() for one in asked]
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


_UNENCODED = (
    "take that token out of the suites' prompts and of the chat template, or declare a base that has a row for it; "
    "peft-assay certify --plan names such tokens"
)


def _run(sandbox: Sandbox, plan: Plan, converse: Callable[[Ask], None]) -> None:
    result = sandbox.run(Job(None, plan.limits, plan.compartment), converse)
    if result.outcome is not Outcome.OK or result.events:
        why = result.detail or "refused system calls"
        raise ObservationError(
            f"the base alone could not be exercised ({result.outcome.value}): {why}",
            next_step=_UNENCODED
            if "rows for tokens" in why
            else "check that the suites' prompts fit the base's context length and the job its limits",
        )


def _parts(suites: Sequence[Suite], most: int) -> list[tuple[Suite, ...]]:
    """At most so many groups, none empty, that cost about the same: the dearest first, each to the lightest group."""
    groups: list[tuple[float, list[Suite]]] = [(0.0, []) for _ in range(min(most, len(suites)))]
    for suite in sorted(suites, key=_cost, reverse=True):
        lightest = min(range(len(groups)), key=lambda at: groups[at][0])
        cost, members = groups[lightest]
        groups[lightest] = (cost + _cost(suite), [*members, suite])
    return [tuple(members) for _, members in groups]


def _cost(suite: Suite) -> float:
    """In tokens: what is read, and what is written."""
    read = sum(len(str(suite.ask_form(case))) + sum(map(len, case.choices)) for case in suite.cases) / CHARACTERS
    return read + (suite.max_new_tokens * len(suite.cases) if suite.measure is Measure.GENERATE else 0)
