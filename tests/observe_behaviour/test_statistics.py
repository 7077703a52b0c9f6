"""Bounds against scipy's exact test, and the difference bound against exact enumeration."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from peft_assay.observe.behaviour.statistics import CONFIDENCE, difference_lower_bound, lower_bound, upper_bound

COUNTS = st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_bounds_are_those_of_the_exact_binomial_test(counts):
    passes, n = counts
    greater = binomtest(passes, n, alternative="greater").proportion_ci(CONFIDENCE, method="exact")
    less = binomtest(passes, n, alternative="less").proportion_ci(CONFIDENCE, method="exact")
    assert lower_bound(passes, n) == pytest.approx(greater.low, abs=1e-9)
    assert upper_bound(passes, n) == pytest.approx(less.high, abs=1e-9)


@given(COUNTS)
def test_bounds_enclose_the_rate_and_mirror_each_other(counts):
    passes, n = counts
    assert 0 <= lower_bound(passes, n) <= passes / n <= upper_bound(passes, n) <= 1
    assert upper_bound(passes, n) == pytest.approx(1 - lower_bound(n - passes, n), abs=1e-9)
    if passes:
        assert lower_bound(passes - 1, n) < lower_bound(passes, n)


def test_known_values():
    assert lower_bound(0, 10) == 0.0
    assert upper_bound(10, 10) == 1.0
    assert lower_bound(60, 60) == pytest.approx(0.05 ** (1 / 60))
    assert upper_bound(0, 60) == pytest.approx(1 - 0.05 ** (1 / 60))


@pytest.mark.parametrize(("passes", "n"), [(-1, 5), (6, 5), (0, 0), (0, -1)])
def test_impossible_counts_are_refused(passes, n):
    for bound in (lower_bound, upper_bound):
        with pytest.raises(ValueError, match="cases"):
            bound(passes, n)
    with pytest.raises(ValueError, match="cases"):
        difference_lower_bound(passes, 0, n)


def test_more_discordant_cases_than_cases_are_refused():
    with pytest.raises(ValueError, match="more discordant cases"):
        difference_lower_bound(3, 3, 5)


def coverage(gain, loss, n, bounds):
    """Exact probability that the bound lies at or below the true difference, over the trinomial distribution."""
    same, total = 1 - gain - loss, 0.0
    for gains in range(n + 1):
        for losses in range(n + 1 - gains):
            if bounds[gains, losses] <= gain - loss + 1e-12:
                ways = math.comb(n, gains) * math.comb(n - gains, losses)
                total += ways * gain**gains * loss**losses * same ** (n - gains - losses)
    return total


@pytest.mark.parametrize("n", [2, 10, 30])
def test_the_difference_bound_covers_by_exact_enumeration(n):
    bounds = {(g, k): difference_lower_bound(g, k, n) for g in range(n + 1) for k in range(n + 1 - g)}
    rates = (0.0, 0.01, 0.05, 0.1, 0.25, 0.45)
    covered = {(gain, loss): coverage(gain, loss, n, bounds) for gain in rates for loss in rates}
    assert min(covered.values()) >= CONFIDENCE - 1e-9, min(covered, key=covered.get)


@given(st.integers(1, 80).flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n))))
def test_the_difference_bound_is_below_the_difference_and_monotonic(drawn):
    gains, losses, n = drawn
    losses = min(losses, n - gains)
    bound = difference_lower_bound(gains, losses, n)
    assert -1 <= bound <= (gains - losses) / n <= 1
    if losses:
        assert bound < difference_lower_bound(gains, losses - 1, n)
