"""`policy simulate`: how often a good adapter is refused by chance, because a suite is a sample.

The model: every case of a suite is passed with the same true rate, by adapter and base independently. That overstates
how much the two disagree, so the chance of a refusal by a relative rule is rather over- than understated. Rules that
speak of anything but what is counted on one suite are taken to pass, and are named.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from peft_assay.core.vocabulary import counted_terms
from peft_assay.evaluate.interface import CompiledPolicy, Condition
from peft_assay.evaluate.witness import truth
from peft_assay.observe.behaviour.statistics import lower_bound, upper_bound
from peft_assay.pipeline.policy.ideal import seen

DRAWS = 4000
_TAIL = 0.975


@dataclass(frozen=True, slots=True)
class Chance:
    """A probability as drawn, with its exact two-sided 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, draws: int) -> "Chance":
        """From `hits` among `draws`."""
        return cls(hits / draws, lower_bound(hits, draws, _TAIL), upper_bound(hits, draws, _TAIL))


@dataclass(frozen=True, slots=True)
class SuiteChance:
    """How often one suite refuses a good adapter."""

    suite: str
    n: int
    refused: Chance
    rules: Mapping[str, Chance]


@dataclass(frozen=True, slots=True)
class Simulation:
    """How often a good adapter is refused, alone and in a fleet."""

    rate: float
    base_rate: float
    draws: int
    adapters: int
    suites: tuple[SuiteChance, ...]
    adapter: Chance
    taken_to_pass: tuple[str, ...]
    """Rules that speak of something else than the counts of one suite."""

    @property
    def expected(self) -> float:
        """Good adapters of the fleet that are refused, on average."""
        return self.adapters * self.adapter.value

    @property
    def any_of_fleet(self) -> float:
        """The chance that at least one good adapter of the fleet is refused."""
        return float(1 - (1 - self.adapter.value) ** self.adapters)


def simulate(
    policy: CompiledPolicy,
    suites: Mapping[str, int],
    *,
    rate: float,
    base_rate: float,
    adapters: int,
    seed: int = 0,
) -> Simulation:
    """Draws `DRAWS` adapters with the true pass rate `rate` on every suite; deterministic for a `seed`."""
    random_ = random.Random(seed)  # noqa: S311 - a simulation
    judged = {suite: dict(_conditions(policy, suite)) for suite in suites}
    spoken = {rule for rules in judged.values() for rule in rules}
    hits = dict.fromkeys(suites, 0)
    by_rule = {suite: dict.fromkeys(rules, 0) for suite, rules in judged.items()}
    refused = 0
    outcomes = {suite: _outcomes(suite, n, judged[suite]) for suite, n in suites.items()}
    for _ in range(DRAWS):
        bad = False
        for suite, n in suites.items():
            broken = outcomes[suite](*_draw(random_, n, rate, base_rate))
            for rule in broken:
                by_rule[suite][rule] += 1
            hits[suite] += bool(broken)
            bad = bad or bool(broken)
        refused += bad
    return Simulation(
        rate,
        base_rate,
        DRAWS,
        adapters,
        tuple(
            SuiteChance(
                suite, n, Chance.of(hits[suite], DRAWS), {r: Chance.of(k, DRAWS) for r, k in by_rule[suite].items()}
            )
            for suite, n in suites.items()
        ),
        Chance.of(refused, DRAWS),
        tuple(compiled.rule.id for compiled in policy.rules if compiled.rule.id not in spoken),
    )


def _conditions(policy: CompiledPolicy, suite: str) -> Iterator[tuple[str, tuple[Condition, ...]]]:
    """Rule -> its conditions that speak of what is counted on `suite` and of nothing else."""
    counted = {term.name for term in counted_terms(suite)}
    for compiled in policy.rules:
        own = tuple(
            condition for condition in compiled.conditions if all(term.name in counted for term in condition.terms)
        )
        if own and compiled.guard is None:
            yield compiled.rule.id, own


def _outcomes(
    suite: str, n: int, rules: Mapping[str, tuple[Condition, ...]]
) -> Callable[[int, int, int], tuple[str, ...]]:
    @cache
    def broken(both: int, gains: int, losses: int) -> tuple[str, ...]:
        values = seen(suite, n, both=both, gains=gains, losses=losses)
        return tuple(rule for rule, conditions in rules.items() if truth(conditions, values) is not True)

    return broken


def _draw(random_: random.Random, n: int, rate: float, base_rate: float) -> tuple[int, int, int]:
    """How many of `n` cases both pass, only the adapter, only the base."""
    both = gains = losses = 0
    for _ in range(n):
        adapter, base = random_.random() < rate, random_.random() < base_rate
        both += adapter and base
        gains += adapter and not base
        losses += base and not adapter
    return both, gains, losses
