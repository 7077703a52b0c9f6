"""Drift from traces: a lower bound of the divergence, checked against whole distributions; and traces that are none."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peft_assay.observe.behaviour.answers import Answer, Path, SuiteRecord
from peft_assay.observe.behaviour.asking import WATCHED
from peft_assay.observe.behaviour.divergence import Incomparable, divergence, suite_drift

WEIGHTS = st.lists(st.floats(1e-4, 1.0), min_size=2, max_size=40)


def distribution(weights):
    return [weight / sum(weights) for weight in weights]


def watched(base, own, count=WATCHED):
    likeliest = sorted(range(len(base)), key=lambda token: -base[token])[:count]
    return [math.log(base[token]) for token in likeliest], [math.log(own[token]) for token in likeliest]


def whole_divergence(base, own):
    return sum(p * math.log(p / q) for p, q in zip(base, own, strict=True))


@given(
    WEIGHTS.flatmap(lambda w: st.tuples(st.just(w), st.lists(st.floats(1e-4, 1.0), min_size=len(w), max_size=len(w))))
)
def test_it_is_a_lower_bound_of_the_divergence(drawn):
    base, own = map(distribution, drawn)
    bound = divergence(*watched(base, own))
    assert 0 <= bound <= whole_divergence(base, own) + 1e-4
    assert divergence(*watched(base, own, count=len(base))) == pytest.approx(whole_divergence(base, own), abs=1e-4)


@given(WEIGHTS)
def test_the_same_distribution_has_none(weights):
    base = distribution(weights)
    assert divergence(*watched(base, base)) == pytest.approx(0, abs=1e-4)


def test_mass_that_moved_to_tokens_nobody_watches_is_seen():
    base = [math.log(0.9), math.log(0.05)]
    assert divergence(base, [-20.0, -20.0]) > 10
    assert math.isfinite(divergence(base, [-1e308, -1e308]))
    assert divergence([0.0], [-3.0]) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("base", "own", "why"),
    [
        ([-1.0], [-1.0, -1.0], "not over the same tokens"),
        ([-1.0], [0.5], "above 1"),
        ([-1.0], [1e308], "above 1"),
        ([-1.0, -1.0], [-0.1, -0.1], "add up to more than 1"),
        ([-0.1, -0.1], [-1.0, -1.0], "add up to more than 1"),
    ],
)
def test_what_is_no_distribution_is_not_compared(base, own, why):
    with pytest.raises(Incomparable, match=why):
        divergence(base, own)


def path(best, *, entropy=0.5, chosen=-0.2, log=-0.2):
    n = len(best)
    return Path(tuple(best), (chosen,) * n, (entropy,) * n, ((1, 2),) * n, ((log, -3.0),) * n)


def answer(case, tokens, best=None, **path_of):
    return Answer("text", tuple(tokens), path=path(tokens if best is None else best, **path_of), case=case)


def record(*answers):
    return SuiteRecord("s", answers, complete=True)


BASE = record(answer("a", (5, 6, 7, 8)), answer("b", (5, 6)))


def test_an_adapter_that_answers_as_the_base_does_not_drift():
    drift = suite_drift(BASE, BASE)
    assert (drift.kl_mean, drift.kl_worst) == (0, 0)
    assert (drift.agreement, drift.first_divergence, drift.length_ratio) == (1, 1, 1)
    assert (drift.entropy_change, drift.log_likelihood_change) == (0, 0)


def test_each_figure_is_what_it_says():
    own = record(
        replace(answer("a", (5, 6, 7, 8), best=(5, 0, 7, 0), entropy=0.9, chosen=-1.2, log=-1.2), tokens=(5,)),
        answer("b", (5, 6)),
    )
    drift = suite_drift(own, BASE)
    assert drift.tokens == 6
    assert drift.agreement == pytest.approx(4 / 6)
    assert drift.first_divergence == pytest.approx((1 / 4 + 1) / 2)
    assert drift.entropy_change == pytest.approx(4 * 0.4 / 6)
    assert drift.log_likelihood_change == pytest.approx(-4 / 6)
    assert drift.length_ratio == pytest.approx(3 / 6)
    assert drift.kl_mean == pytest.approx(drift.kl_worst * 4 / 6)
    assert drift.kl_worst == pytest.approx(divergence((-0.2, -3.0), (-1.2, -3.0)))


def test_cases_never_asked_are_not_compared():
    drift = suite_drift(replace(record(answer("b", (5, 6))), complete=False), BASE)
    assert (drift.tokens, drift.length_ratio) == (2, 1)


@pytest.mark.parametrize(
    ("own", "base", "why"),
    [
        (record(), BASE, "no case"),
        (record(answer("a", ())), record(answer("a", ())), "no case"),
        (record(answer("c", (1,))), BASE, "not asked every case"),
        (record(Answer("x", (5, 6), case="b")), BASE, "no trace"),
        (record(answer("b", (5, 6, 7))), BASE, "not over the same tokens"),
        (record(replace(answer("b", (5, 6)), path=replace(path((5, 6)), watched=((3, 4),) * 2))), BASE, "same tokens"),
        (record(answer("b", (5, 6), chosen=0.3)), BASE, "above 1"),
        (record(answer("b", (5, 6), entropy=-0.3)), BASE, "below 0"),
    ],
)
def test_traces_that_cannot_be_compared_say_why(own, base, why):
    with pytest.raises(Incomparable, match=why):
        suite_drift(own, base)
