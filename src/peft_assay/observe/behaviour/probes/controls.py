"""Would the suites notice an adapter that does nothing? Null answers go through them, once for each run."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from peft_assay.core.judge import JudgeFailed
from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.core.suite import Suite
from peft_assay.observe.behaviour.conduct import order_of
from peft_assay.observe.behaviour.interface import Plan, Seen, Turn
from peft_assay.observe.behaviour.mute import MuteRecord, asked_aloud, mute, prompts_aloud
from peft_assay.observe.behaviour.nulls import SAMPLE, Answering, Null, Reached, reached
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.scorers.catalogue import text_scorer
from peft_assay.observe.behaviour.statistics import lower_bound
from peft_assay.observe.behaviour.terms import unanswered

TERMS = tuple(f"controls.{null}" for null in Null)
MUTE = "controls.mute"


@dataclass(frozen=True, slots=True)
class ControlsRecord:
    """The score of each null answer, and the generated answers where no suite would notice silence."""

    reached: Mapping[str, Reached]
    """Scores by kind; computed with the base only, because suites and base determine them."""
    unjudged: str | None = None
    """The reason why a judge whose verdict was needed gave no reply."""
    aloud: MuteRecord | None = None


class ControlsProbe:
    """Scores null answers while the base is asked; asks for text where the suites ask for none."""

    id = "controls"
    version = "1"
    kind = ControlsRecord

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """Return one term for each kind of null answer, and one for an adapter without answers of its own."""
        return (*TERMS, MUTE)

    def ask(self, turn: Turn) -> ControlsRecord | None:
        """Score the null answers once, with the base; where no suite would notice silence, ask both models for a few
        answers.
        """
        aloud = asked_aloud(turn.ask, turn.plan)
        if turn.base is not None:
            return ControlsRecord({}, aloud=aloud)
        own = turn.own.of(SuitesRecord)
        suites = turn.plan.suites
        try:
            found = {null.value: reached(null, suites, own.suites if own else {}, _judged) for null in Null}
        except JudgeFailed as failure:
            return ControlsRecord({}, str(failure), aloud)
        return ControlsRecord(found, aloud=aloud)

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """Return for each kind the score of the best null answer on the suite where it is lowest."""
        by, base = ObservedBy.SUPERVISOR, seen.base.of(ControlsRecord)
        if base is None:
            return unanswered(self.terms(seen.plan))
        own = seen.own.of(SuitesRecord)
        found = []
        for null, name in zip(Null, TERMS, strict=True):
            if base.unjudged is not None:
                found.append(failed(name, base.unjudged, by=by))
                continue
            best = base.reached[null]
            if null is Null.ELSEWHERE and own is not None:
                try:
                    mine = reached(null, seen.plan.suites, own.suites, _judged)
                except JudgeFailed as failure:
                    found.append(failed(name, str(failure), by=by))
                    continue
                best = max(best, mine, key=lambda one: one.lower)
            found.append(ok(name, best.lower, by=by, reason=str(best)))
        return [*found, _mute(seen, base)]


def foreseen(suites: tuple[Suite, ...]) -> list[Observation]:
    """Return the scores that null answers reach at least, before anything runs: without the base's answers, and without
    judges.
    """
    by = ObservedBy.SUPERVISOR
    found = []
    judged = any(suite.judged for suite in suites)
    for null, name in zip(Null, TERMS, strict=True):
        best = reached(null, suites, {})
        if not judged or (best.suite and best.lower == 0.0):
            found.append(ok(name, best.lower, by=by, reason=str(best)))
    return found


def _judged(suite: Suite, _null: Null, answering: Answering) -> float | None:
    """Ask the judge until half of the cases are failed; the remaining cases then count as passed."""
    passes, cases = text_scorer(suite), order_of(suite)[:SAMPLE]
    failures = 0
    for case in cases:
        failures += not passes(case, answering(suite, case))
        if 2 * failures >= len(cases):
            break
    return lower_bound(len(cases) - failures, len(cases))


def _mute(seen: Seen, base: ControlsRecord) -> Observation:
    by, own = ObservedBy.SUPERVISOR, seen.own.of(ControlsRecord)
    if not prompts_aloud(seen.plan):
        return ok(MUTE, 0.0, by=by, reason="a suite of text would notice")
    if own is None or own.aloud is None or base.aloud is None:
        return failed(MUTE, "the child did not answer", by=by)
    share, told = mute(seen.plan, own.aloud, base.aloud)
    return ok(MUTE, share, by=by, reason=told)
