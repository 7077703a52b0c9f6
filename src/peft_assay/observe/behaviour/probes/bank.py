"""Where an adapter stands among the consumer's own certified ones: is any of its measures larger than all of theirs?

Thresholds on weights and drift do not carry over from one base, rank or task to another; the company that an adapter
is to join is the only yardstick at hand. If it were one more of the same kind, each measure would be the largest of
n + 1 with probability 1 / (n + 1) (conformal p-value: Vovk, Gammerman, Shafer, 2005). That is a reason to look, never a
ground to refuse or to admit.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from peft_assay.core.observation import Observation, ObservedBy, Status, ok
from peft_assay.observe.behaviour.interface import BehaviourProbe, Plan, Seen, Turn
from peft_assay.observe.behaviour.terms import not_applicable

FEWEST = 20
"""Adapters below which a bank says nothing: one in 21 is the rarest that it could call anything."""
TERMS = ("bank.size", "bank.highest", "bank.unusual")


@dataclass(frozen=True, slots=True)
class BankRecord:
    """Nothing: the bank is in the plan, and what is compared with it is in other records."""


class BankProbe:
    """Asks nothing; compares what `sources` observe, and what is known of the file, with the plan's bank."""

    id = "bank"
    version = "1"
    kind = BankRecord

    def __init__(self, sources: Sequence[BehaviourProbe]) -> None:
        self._sources = tuple(sources)

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """Three; all but the size do not apply while the bank is small."""
        return TERMS

    def ask(self, turn: Turn) -> None:
        """Nothing."""

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """How many adapters there are to compare with, and what is larger than in all of them."""
        bank = seen.plan.bank
        size = max(map(len, bank.values.values()), default=0)
        yield ok(TERMS[0], size, by=ObservedBy.SUPERVISOR)
        own = {**bank.own, **self._measured(seen)}
        company = {name: values for name, values in bank.values.items() if len(values) >= FEWEST and name in own}
        if not company:
            why = (
                f"{size} adapters of the same base and type are certified here; a bank says something from {FEWEST} on"
            )
            yield from not_applicable(TERMS[1:], why)
            return
        yield from _observations(own, company)

    def _measured(self, seen: Seen) -> dict[str, float]:
        observed = (observation for source in self._sources for observation in source.observe(seen))
        return {o.name: o.value for o in observed if o.status is Status.OK and isinstance(o.value, float)}


def _observations(own: Mapping[str, float], company: Mapping[str, Sequence[float]]) -> Iterable[Observation]:
    shares = {name: percentile(own[name], values) for name, values in sorted(company.items())}
    unusual = tuple(
        f"{name}: {own[name]:.4g}, above all {len(company[name])} (at most {max(company[name]):.4g})"
        for name in shares
        if own[name] > max(company[name])
    )
    told = "; ".join(
        f"{name} at percentile {100 * share:.0f} of {len(company[name])}" for name, share in shares.items()
    )
    yield ok(TERMS[1], max(shares.values()), by=ObservedBy.NUMBERS, reason=told)
    yield ok(TERMS[2], unusual, by=ObservedBy.NUMBERS, reason=told)


def percentile(value: float, values: Sequence[float]) -> float:
    """Share of `values` that are below `value`, those equal to it counted half: 0.0 below all, 1.0 above all."""
    below, same = sum(other < value for other in values), sum(other == value for other in values)
    return (below + same / 2) / len(values)
