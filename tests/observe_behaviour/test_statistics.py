"""Bounds against scipy's exact test, and the difference bound against exact enumeration."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from peft_assay.observe.behaviour.statistics import (
    CONFIDENCE,
    Counts,
    difference_lower_bound,
    difference_upper_bound,
    interval,
    lower_bound,
    mcnemar_p,
    upper_bound,
)

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


@settings(max_examples=60, deadline=None)
@given(COUNTS)
def test_the_interval_is_that_of_the_exact_two_sided_test(counts):
    passes, n = counts
    exact = binomtest(passes, n).proportion_ci(CONFIDENCE, method="exact")
    assert interval(passes, n) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert interval(passes, n)[0] <= lower_bound(passes, n) <= upper_bound(passes, n) <= interval(passes, n)[1]


@pytest.mark.parametrize("n", [1, 2, 5, 20, 60, 150])
def test_the_interval_covers_by_exact_enumeration(n):
    intervals = [interval(passes, n) for passes in range(n + 1)]
    for rate in (0.0, 0.001, 0.01, 0.05, 0.1, 0.3, 0.5, 0.77, 0.95, 0.99, 1.0):
        ways = (math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(n + 1))
        covered = sum(way for way, (low, high) in zip(ways, intervals, strict=True) if low <= rate <= high)
        assert covered >= CONFIDENCE - 1e-9, rate


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_binomial_test_of_the_discordant_cases(gains, losses):
    value = mcnemar_p(gains, losses)
    assert value == mcnemar_p(losses, gains)
    assert 0 < value <= 1
    n, least = gains + losses, min(gains, losses)
    by_hand = min(1.0, 2 * sum(math.comb(n, k) for k in range(least + 1)) / 2**n)
    assert value == pytest.approx(by_hand, abs=1e-9)


def test_known_values_of_mcnemar():
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(1, 8) == pytest.approx(20 / 512)
    with pytest.raises(ValueError, match="losses"):
        mcnemar_p(0, -1)


@pytest.mark.parametrize("n", [2, 10])
def test_mcnemar_rejects_no_more_often_than_it_says(n):
    """Exact enumeration where gains and losses are equally likely: the chance of p <= a is at most a."""
    for discordant in (0.1, 0.5, 1.0):
        for level in (0.01, 0.05, 0.2):
            rejected = sum(
                math.comb(n, k) * discordant**k * (1 - discordant) ** (n - k) * math.comb(k, gains) / 2**k
                for k in range(n + 1)
                for gains in range(k + 1)
                if mcnemar_p(gains, k - gains) <= level
            )
            assert rejected <= level + 1e-9


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n))))
def test_the_upper_bound_of_the_difference_mirrors_the_lower(drawn):
    gains, losses, n = drawn
    losses = min(losses, n - gains)
    assert difference_upper_bound(gains, losses, n) == -difference_lower_bound(losses, gains, n)
    assert (gains - losses) / n <= difference_upper_bound(gains, losses, n) <= 1


OUTCOMES = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)
"""Of each case: does the adapter pass, does the base?"""


def counts_over(outcomes, asked):
    seen = outcomes[:asked]
    return Counts(
        n=len(outcomes),
        asked=asked,
        passes=sum(own for own, _ in seen),
        gains=sum(own and not base for own, base in seen),
        losses=sum(base and not own for own, base in seen),
        base_passes=sum(base for _, base in outcomes),
    )


@given(OUTCOMES, st.data())
def test_bounds_of_a_stopped_suite_enclose_those_of_the_whole(outcomes, data):
    """Whatever the cases would have shown that a stopping rule left out, and whenever it stopped."""
    whole = counts_over(outcomes, len(outcomes))
    stopped = counts_over(outcomes, data.draw(st.integers(0, len(outcomes))))
    for bounds in (Counts.rate_bounds, Counts.rate_interval, Counts.difference_bounds):
        low, high = bounds(stopped)
        least, most = bounds(whole)
        assert low <= least + 1e-12
        assert most <= high + 1e-12
    assert stopped.losses_at_most >= whole.losses
    assert stopped.gains_at_most >= whole.gains


@given(OUTCOMES)
def test_nothing_is_censored_in_a_whole_suite(outcomes):
    whole = counts_over(outcomes, len(outcomes))
    assert (whole.losses_at_most, whole.gains_at_most, whole.unasked) == (whole.losses, whole.gains, 0)
    assert whole.rate_bounds() == (lower_bound(whole.passes, whole.n), upper_bound(whole.passes, whole.n))
    assert whole.difference_bounds()[0] == difference_lower_bound(whole.gains, whole.losses, whole.n)


@pytest.mark.parametrize(
    "changed",
    [{"n": 0}, {"asked": 11}, {"passes": 9}, {"gains": 6}, {"losses": 6}, {"base_passes": 11}, {"base_passes": 1}],
)
def test_counts_that_no_suite_can_have_are_refused(changed):
    fair = {"n": 10, "asked": 8, "passes": 5, "gains": 2, "losses": 2, "base_passes": 6}
    assert Counts(**fair).unasked == 2
    with pytest.raises(ValueError, match="no suite has such counts"):
        Counts(**(fair | changed))
