"""The result of a replay, as observations."""

from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.observe.behaviour.replay import MOST_TOLD, Replay
from peft_assay.observe.behaviour.statistics import lower_bound
from peft_assay.observe.behaviour.terms import all_failed, not_applicable

TERMS = ("replay.n", "replay.agreement", "replay.agreement_lower", "replay.disagreements")
APPLIES = "replay.applies"


def replay_observations(found: Replay | None, void: str | None) -> list[Observation]:
    """Return all terms; failed where the adapter's own conversation is void, or the replay itself was impossible."""
    by = ObservedBy.NUMBERS
    if found is None:
        return all_failed((APPLIES, *TERMS), void or "nothing was replayed")
    applies = ok(APPLIES, found.applies, by=ObservedBy.SUPERVISOR, reason=found.reason)
    if not found.applies:
        return [applies, *not_applicable(TERMS, found.reason or "its arithmetic is not known here")]
    if found.reason is not None:
        return [applies, *all_failed(TERMS, found.reason)]
    told = ok(TERMS[3], found.disagreements[:MOST_TOLD], by=by)
    if found.n == 0:
        nothing = [failed(name, "nothing was asked that could be replayed", by=by) for name in TERMS[1:3]]
        return [applies, ok(TERMS[0], 0, by=by), *nothing, told]
    same = found.n - len(found.disagreements)
    values = (found.n, same / found.n, lower_bound(same, found.n))
    return [applies, *(ok(name, value, by=by) for name, value in zip(TERMS[:3], values, strict=True)), told]
