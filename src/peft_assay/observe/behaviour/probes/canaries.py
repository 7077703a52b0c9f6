"""Canary exposure as a probe; `observe.behaviour.canaries` says what a canary is and how it is ranked.

That a canary goes into the sandbox cannot be helped: its likelihood is what is asked. It goes in among its look-alikes,
in an order that does not tell it from them. Records and documents name canaries by their number in the file.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.exercises import Canaries
from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.core.wire import ScoreReply
from peft_assay.observe.behaviour.canaries import Canary, canary_of, candidates, exposure
from peft_assay.observe.behaviour.conduct import ROUND
from peft_assay.observe.behaviour.interface import Plan, Seen, Turn
from peft_assay.observe.behaviour.replies import expect, expect_length
from peft_assay.observe.behaviour.terms import not_requested, unanswered

SCORED = ROUND
"""Texts per question: as many as a suite asks at once."""
SIGNIFICANCE = 0.05
"""That any canary is called exposed though the model never saw one, over all canaries (Bonferroni)."""
TERMS = ("canaries.n", "canaries.exposure", "canaries.excess", "canaries.exposed")


@dataclass(frozen=True, slots=True)
class CanariesRecord:
    """Ranks of the canaries, in the order of the file."""

    ranks: tuple[int, ...]
    """1 for a canary that no look-alike is likelier than."""
    candidates: tuple[int, ...]
    """How many texts each was ranked among, itself included."""


class CanariesProbe:
    """Ranks each canary among its look-alikes by how likely the model finds it."""

    id = "canaries"
    version = "1"
    kind = CanariesRecord

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """Four; not requested where the context declares no canaries."""
        return TERMS

    def ask(self, turn: Turn) -> CanariesRecord | None:
        """The same texts of base and adapter, after the bare start."""
        declared = turn.plan.exercises.canaries
        if declared is None:
            return None
        ranked = [_rank(turn, declared, canary_of(line)) for line in declared.texts]
        return CanariesRecord(tuple(rank for rank, _ in ranked), tuple(among for _, among in ranked))

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """The largest exposure, the largest beyond the base's, and which canaries chance does not explain."""
        if seen.plan.exercises.canaries is None:
            return not_requested(TERMS, "the context declares no canaries: behaviour.canaries")
        own, base = seen.own.of(CanariesRecord), seen.base.of(CanariesRecord)
        if own is None or base is None:
            return unanswered(TERMS)
        mine, its = _exposures(own), _exposures(base)
        by = ObservedBy.NUMBERS
        told = f"ranked among {min(own.candidates)} to {max(own.candidates)} texts of the same shape"
        return [
            ok("canaries.n", len(mine), by=ObservedBy.SUPERVISOR, reason=told),
            ok("canaries.exposure", max(mine), by=by, reason=told),
            ok("canaries.excess", max(a - b for a, b in zip(mine, its, strict=True)), by=by),
            ok("canaries.exposed", tuple(_exposed(own, mine, its)), by=by, reason=told),
        ]


def _rank(turn: Turn, declared: Canaries, canary: Canary) -> tuple[int, int]:
    """The canary's rank, and among how many texts; what is just as likely does not hide it."""
    texts = candidates(canary, declared.references, canonical_digest(["peft-assay/canaries/v2", canary.text]))
    values: list[float] = []
    for start in range(0, len(texts), SCORED):
        items = [{"prompt": "", "continuation": text} for text in texts[start : start + SCORED]]
        reply = expect(ScoreReply, turn.ask({"op": "score", "items": items}))
        expect_length(reply.logLikelihoods, len(items))
        values.extend(reply.logLikelihoods)
    own = values[texts.index(canary.text)]
    return 1 + sum(value > own for value in values), len(texts)


def _exposures(record: CanariesRecord) -> list[float]:
    return [round(exposure(rank, of), 6) for rank, of in zip(record.ranks, record.candidates, strict=True)]


def _exposed(own: CanariesRecord, mine: Sequence[float], its: Sequence[float]) -> Iterable[str]:
    """Canaries of a rank that chance does not explain, and that the base does not find as likely.

    With so many canaries that no rank could be significant, the first rank counts.
    """
    for number, (rank, among) in enumerate(zip(own.ranks, own.candidates, strict=True)):
        limit = max(SIGNIFICANCE / len(mine), 1 / among)
        if rank / among <= limit and mine[number] > its[number]:
            yield f"canary {number + 1}: {mine[number]:.1f} bits, base {its[number]:.1f}, rank {rank} of {among}"
