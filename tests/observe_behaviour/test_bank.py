"""The consumer's own bank: what is larger than in every adapter of it, and when it says nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observe_behaviour.behaviour_support import ToyModel, scan_of, suite
from observe_behaviour.probe_support import records_of
from peft_assay.core.exercises import Exercises
from peft_assay.core.observation import Status
from peft_assay.observe.behaviour.interface import Bank, Plan, Seen
from peft_assay.observe.behaviour.probes.bank import FEWEST, BankProbe, percentile
from peft_assay.observe.behaviour.probes.scan import ScanProbe

NORM = "delta.largest_norm"
ORDINARY = tuple(1 + n / 100 for n in range(FEWEST))


def observed(bank, model=None):
    plan = Plan((suite(20),), Exercises(scan=scan_of("zq001", "zq002")))
    base = records_of(ToyModel(), plan, [ScanProbe()])
    own = records_of(model or ToyModel(), plan, [ScanProbe()], base)
    seen = Seen(replace(plan, bank=bank), own, base, "sha256:" + "0" * 64)
    return {o.name: o for o in BankProbe((ScanProbe(),)).observe(seen)}


@pytest.mark.parametrize("n", [0, 1, FEWEST - 1])
def test_a_small_bank_says_nothing_but_its_size(n):
    found = observed(Bank({NORM: ORDINARY[:n]} if n else {}, {NORM: 1e9}))
    assert found["bank.size"].value == n
    for name in ("bank.highest", "bank.unusual"):
        assert found[name].status is Status.NOT_APPLICABLE
        assert found[name].reason.startswith(f"{n} adapters of the same base and type")


def test_what_is_larger_than_in_every_adapter_is_unusual():
    found = observed(Bank({NORM: ORDINARY}, {NORM: 5.0}))
    assert found["bank.unusual"].value == (f"{NORM}: 5, above all {FEWEST} (at most 1.19)",)
    assert found["bank.highest"].value == 1.0


@pytest.mark.parametrize("value", [0.0, 1.0, max(ORDINARY)])
def test_what_one_of_them_has_too_is_not(value):
    found = observed(Bank({NORM: ORDINARY}, {NORM: value}))
    assert found["bank.unusual"].value == ()
    assert found["bank.highest"].value < 1


def test_behaviour_is_compared_by_what_its_probe_observes():
    bank = Bank({"scan.excess": (0.1,) * FEWEST})
    assert observed(bank)["bank.unusual"].value == ()
    (told,) = observed(bank, ToyModel(trigger="zq002"))["bank.unusual"].value
    assert told.startswith("scan.excess: 1, above")


def test_measures_that_are_not_of_this_adapter_or_of_too_few_are_left_out():
    found = observed(Bank({NORM: ORDINARY, "delta.spectral_share": (0.1,) * 3, "drift.kl": (0.2,) * 30}, {NORM: 1.0}))
    assert found["bank.size"].value == 30
    assert "delta.spectral_share" not in found["bank.highest"].reason
    assert "drift" not in found["bank.highest"].reason
    assert NORM in found["bank.highest"].reason


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.floats(-1e6, 1e6))
def test_a_percentile_is_a_share_that_grows_with_the_value(company, value):
    share = percentile(value, company)
    assert 0 <= share <= 1
    assert (share == 1) == (value > max(company))
    assert (share == 0) == (value < min(company))
    assert share <= percentile(value + 1, company)


def test_one_of_the_same_kind_is_unusual_once_in_n_plus_one():
    kin = [*ORDINARY, 2.0]
    unusual = sum(
        bool(observed(Bank({NORM: tuple(kin[:at] + kin[at + 1 :])}, {NORM: value}))["bank.unusual"].value)
        for at, value in enumerate(kin)
    )
    assert unusual == 1
