"""Behaviour of one adapter: one job in the sandbox, and the observations that may be drawn from it.

Any event that the supervisor recorded, any end other than a regular one, and anything that the child said against
itself voids every behaviour result: a child that tried something else may also have lied, and one that lied once may
have lied elsewhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from peft_assay.core.digest import Digest
from peft_assay.core.errors import told
from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.core.sandbox import Ask, ChildGone, Job, Outcome, Result, Sandbox
from peft_assay.observe.behaviour.catalogue import BEHAVIOUR_PROBES
from peft_assay.observe.behaviour.interface import REFERENCE_DTYPE, BehaviourProbe, Plan, Records, Seen, Turn
from peft_assay.observe.behaviour.memory import Memory
from peft_assay.observe.behaviour.probes.load import LoadRecord
from peft_assay.observe.behaviour.probes.scan import ScanRecord
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.replay import Replay, replay
from peft_assay.observe.behaviour.replayed import APPLIES as REPLAY_APPLIES
from peft_assay.observe.behaviour.replayed import TERMS as REPLAY_TERMS
from peft_assay.observe.behaviour.replayed import replay_observations
from peft_assay.observe.behaviour.terms import all_failed
from peft_assay.observe.behaviour.witness import Witness, known_of

SANDBOX_TERMS = ("sandbox.level", "sandbox.events", "answers.contradictions", REPLAY_APPLIES, *REPLAY_TERMS)
SERVED_TERM = "stack.observed_as_served"


@dataclass(frozen=True, slots=True)
class Conversation:
    """Everything that one job brought, before it is judged usable."""

    records: Records
    result: Result
    contradiction: str | None = None
    """The contradiction within the child's replies, where there is one."""
    replay: Replay | None = None
    """The replay of a sample of the same questions by another process; None where no answer could be replayed."""

    def without_sense(self, why: str) -> Self:
        """Return the conversation without its results, from which nothing can be concluded."""
        return replace(self, records=Records(), result=replace(self.result, outcome=Outcome.INVALID_OUTPUT, detail=why))


@dataclass(frozen=True, slots=True)
class Conditions:
    """What observations are conditional on besides the plan."""

    level: int
    """The sandbox's achieved isolation."""
    base_state: Digest
    as_served: str | None
    """None when the engine and dtype observed are those that the context declares, else why not."""
    base: Records = field(default_factory=Records)
    """What the base alone answered."""


def exercise(
    sandbox: Sandbox, adapter: Mapping[str, bytes], plan: Plan, base: Records, memory: Memory | None = None
) -> Conversation:
    """Run the adapter's job; never raises for anything the adapter did, even where the code that asks and scores fails
    on it.
    """
    records = Records()
    remembered = memory or Memory()
    witness = Witness(known_of(adapter, plan, base))
    ended: list[str] = []

    def converse(ask: Ask) -> None:
        try:
            _ask(witness, ask, plan, records, base, remembered)
        except ChildGone as gone:
            ended.append(str(gone))
            raise
        except Exception as error:
            ended.append(f"its answers cannot be scored: {told(error)}")
            raise ChildGone(ended[-1]) from error

    job = Job(
        adapter,
        plan.limits,
        plan.compartment,
        vocabulary=plan.vocabulary if plan.resized else None,
        tokens=plan.tokens,
    )
    result = sandbox.run(job, converse)
    found = Conversation(records, result, witness.contradiction)
    if ended and result.outcome is Outcome.OK and found.contradiction is None:  # the questions stopped early
        return found.without_sense(ended[0])
    records.keep(result.usage)
    loaded = records.of(LoadRecord)
    if is_void(found) or loaded is None or not loaded.loaded:
        return found
    again = replay(sandbox, job, witness.exchanges, half=plan.dtype != REFERENCE_DTYPE)
    return replace(found, replay=again)


def _ask(witness: Witness, ask: Ask, plan: Plan, records: Records, base: Records, remembered: Memory) -> None:
    heard = witness.listening(ask)
    for probe in BEHAVIOUR_PROBES:
        witness.probe = probe.id
        record = probe.ask(Turn(heard, plan, records, base, remembered))
        if record is not None:
            records.keep(record)
        if isinstance(record, LoadRecord) and not record.loaded:
            return


def observations_of(found: Conversation, plan: Plan, conditions: Conditions) -> tuple[Observation, ...]:
    """The observations that `found` supports, each term of the plan exactly once."""
    events = _events(found.result)
    by = ObservedBy.SUPERVISOR
    seen = [
        ok("sandbox.level", conditions.level, by=by),
        ok("sandbox.events", len(found.result.events), by=by, reason=events),
        _contradictions(found),
        *replay_observations(found.replay, _why_void(found)),
        ok(SERVED_TERM, conditions.as_served is None, by=by, reason=conditions.as_served),
    ]
    void = _why_void(found)
    if void is not None:
        return (*seen, *all_failed(behaviour_terms(plan), void))
    load = found.records.of(LoadRecord)
    facts = Seen(plan, found.records, conditions.base, conditions.base_state)
    for probe in BEHAVIOUR_PROBES:
        if load is not None and not load.loaded and probe.kind is not LoadRecord:
            seen.extend(all_failed(probe.terms(plan), f"not loaded: {load.problem}"))
        else:
            seen.extend(_conclude(probe, facts))
    return tuple(seen)


def _conclude(probe: BehaviourProbe, seen: Seen) -> Iterable[Observation]:
    """What `probe` observes, if it observes exactly its terms."""
    observed = tuple(probe.observe(seen))
    if sorted(observation.name for observation in observed) != sorted(probe.terms(seen.plan)):
        return all_failed(probe.terms(seen.plan), f"{probe.id}: the probe did not observe exactly its terms")
    return observed


def not_exercised(reason: str, plan: Plan) -> tuple[Observation, ...]:
    """Failed observations for everything that only running the adapter can show."""
    return tuple(all_failed([*SANDBOX_TERMS, SERVED_TERM, *behaviour_terms(plan)], reason))


def behaviour_terms(plan: Plan) -> list[str]:
    """Every term of every probe."""
    return [name for probe in BEHAVIOUR_PROBES for name in probe.terms(plan)]


def is_void(found: Conversation) -> bool:
    """Whether the sandbox stepped in, or the job did not end regularly: nothing of it may be kept."""
    return _why_void(found) is not None


def _contradictions(found: Conversation) -> Observation:
    """Return a failed observation where the conversation ended before all of it could be compared."""
    by, name = ObservedBy.ANSWERS, "answers.contradictions"
    if found.contradiction is not None:
        return ok(name, (found.contradiction,), by=by)
    void = _why_void(found)
    return ok(name, (), by=by) if void is None else failed(name, void, by=by)


def _why_void(found: Conversation) -> str | None:
    result = found.result
    if result.events:
        return f"void: the supervisor saw {_events(result)}"
    if found.contradiction is not None:
        return f"void: it contradicts itself: {found.contradiction}"
    if found.replay is not None and found.replay.disagreements:
        return f"void: without PEFT its weights compute something else: {found.replay.disagreements[0]}"
    if result.outcome is Outcome.INVALID_OUTPUT:
        return f"void: the adapter's process gave no answers that can be used: {result.detail}"
    if result.outcome is not Outcome.OK:
        return f"void: the adapter's process ended with {result.outcome.value}: {result.detail}"
    return None


def _events(result: Result) -> str | None:
    kinds = sorted({f"{event.kind} {event.detail}".strip() for event in result.events})
    return ", ".join(kinds[:10]) or None


def evidence_of(found: Conversation, plan: Plan, base: Records) -> dict[str, Any]:
    """The stored record behind the observations: per case whether it passed, texts only of public suites."""
    own, its = found.records.of(SuitesRecord), base.of(SuitesRecord)
    scans = found.records.of(ScanRecord)
    return {
        "suites": {}
        if own is None or its is None
        else {
            suite.id: _case_records(
                own.suites[suite.id].answers,
                its.suites[suite.id].by_case(),
                public=suite.confidentiality == "public",
            )
            for suite in plan.suites
        },
        "scans": {}
        if scans is None
        else {
            name: {
                "excess": list(scan.excess),
                "suspects": list(scan.suspects),
                "proposed": list(proposed.tokens) if (proposed := scans.proposals.get(name)) else [],
                "proposedSuspects": list(proposed.suspects) if proposed else [],
                "proposedConfirmed": list(proposed.confirmed) if proposed else [],
                "confirmed": list(scan.confirmed),
                "prompts": scan.prompts,
                "sequences": scan.sequences,
            }
            for name, scan in scans.scans.items()
        },
    }


def _case_records(own: Sequence[Any], base: Mapping[str, Any], *, public: bool) -> list[dict[str, Any]]:
    return [
        {
            "case": answer.case,
            "passed": answer.passed,
            "basePassed": base[answer.case].passed,
            "text": answer.text if public else None,
            "scores": list(answer.scores) if public else None,
            "baseText": base[answer.case].text if public else None,
        }
        for answer in own
    ]
