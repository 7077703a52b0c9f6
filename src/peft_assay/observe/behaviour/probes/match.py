"""Is this the base that the adapter was made for? On a wrong one it no longer finds ordinary text likely."""

from collections.abc import Iterable
from types import NoneType

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.behaviour.divergence import Incomparable
from peft_assay.observe.behaviour.interface import Plan, Seen, Turn
from peft_assay.observe.behaviour.probes.drift import drifts_of, off_task
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.terms import all_failed, unanswered

TERMS = ("match.log_likelihood_change",)


class MatchProbe:
    """Asks nothing: the ordinary text is what the base itself answered to off-task suites."""

    id = "match"
    version = "1"
    kind = NoneType

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """One; failed where the context declares no off-task suite."""
        return TERMS

    def ask(self, turn: Turn) -> None:
        """Nothing; expected answers stay outside, so the text is not theirs."""

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """The change on the suite where it fell most."""
        own, base = seen.own.of(SuitesRecord), seen.base.of(SuitesRecord)
        if own is None or base is None:
            return unanswered(TERMS)
        try:
            chosen = off_task(seen.plan, drifts_of(seen.plan.suites, own, base))
        except Incomparable as reason:
            return all_failed(TERMS, str(reason))
        worst = min(chosen, key=lambda suite: chosen[suite].log_likelihood_change)
        over = f"suite {worst}, {chosen[worst].tokens} tokens"
        return [ok(TERMS[0], chosen[worst].log_likelihood_change, by=ObservedBy.SUPERVISOR, reason=over)]
