"""The base's own answers: the same whether its suites are shared out among workers or asked by one."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observe_behaviour.behaviour_support import ToyModel, ToySandbox, event, suite
from peft_assay.core.errors import ObservationError
from peft_assay.core.exercises import Exercises
from peft_assay.core.sandbox import Outcome
from peft_assay.observe.behaviour import reference
from peft_assay.observe.behaviour.interface import Plan
from peft_assay.observe.behaviour.lengths import LengthsRecord
from peft_assay.observe.behaviour.memory import Memory
from peft_assay.observe.behaviour.probes.suites import SuitesRecord

SUITES = (
    suite(9, name="lookups", kind="choice"),
    suite(20),
    suite(12, name="others", kind="regex", confidentiality="confidential"),
)


class Counting(ToyModel):
    """Notes what is asked, and of how many cases."""

    def __init__(self, **seen):
        super().__init__(**seen)
        self.counted = []

    def ask(self, question):
        self.counted.append((question["op"], len(question.get("items", question.get("prompts", ())))))
        return super().ask(question)


def observe(at_once, suites=SUITES, **seen):
    sandbox, memory = ToySandbox(Counting(), **seen), Memory()
    plan = Plan(suites, Exercises())
    return reference.observe_base(sandbox, plan, memory, at_once=at_once), sandbox, memory


@pytest.mark.parametrize("at_once", [2, 3, 9])
def test_shared_out_or_not_it_answers_the_same_and_is_asked_everything_once(at_once):
    alone, one, kept = observe(1)
    shared, several, also_kept = observe(at_once)
    for kind in (LengthsRecord, SuitesRecord):
        assert shared.of(kind) == alone.of(kind)
    assert list(shared.of(SuitesRecord).suites) == [suite.id for suite in SUITES]
    assert sorted(several.model.counted) == sorted(one.model.counted)
    assert also_kept.fresh == kept.fresh
    assert kept.fresh
    assert len(one.jobs) == 1
    assert len(several.jobs) == min(at_once, len(SUITES)) + 1
    assert {(job.adapter, job.compartment) for job in several.jobs} == {(None, "confidential")}


def test_a_single_suite_is_one_job():
    _, sandbox, _ = observe(4, SUITES[:1])
    assert len(sandbox.jobs) == 1


def test_shares_are_asked_at_the_same_time():
    met = threading.Barrier(2, timeout=20)

    class Meeting(ToySandbox):
        def run(self, job, converse):
            if len(self.jobs) < 2:
                self.jobs.append(job)
                met.wait()
                self.jobs.pop()
            return super().run(job, converse)

    sandbox = Meeting(ToyModel())
    reference.observe_base(sandbox, Plan(SUITES[:2], Exercises()), at_once=2)
    assert not met.broken


@pytest.mark.parametrize("seen", [{"outcome": Outcome.CRASH}, {"events": [event()]}])
def test_a_share_that_cannot_be_exercised_stops_the_run(seen):
    with pytest.raises(ObservationError, match="the base alone could not be exercised"):
        observe(2, **seen)


def test_a_share_that_fails_does_not_wait_for_the_others():
    going, failed = threading.Event(), []

    class Slow(ToySandbox):
        def run(self, job, converse):
            with lock:
                self.jobs.append(job)
                first = len(self.jobs) == 1
            if not first:
                assert going.wait(30)
                return super().run(job, converse)
            raise ObservationError("the first is lost")

    lock, sandbox = threading.Lock(), Slow(ToyModel())
    try:
        with pytest.raises(ObservationError, match="the first is lost"):
            reference.observe_base(sandbox, Plan(SUITES[:2], Exercises()), at_once=2)
        failed.append(going.is_set())
    finally:
        going.set()
    assert failed == [False]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=7), st.integers(1, 5))
def test_shares_hold_every_suite_once_and_none_is_much_dearer_than_needed(sizes, most):
    suites = [suite(size, name=f"s{at}") for at, size in enumerate(sizes)]
    parts = reference._parts(suites, most)
    assert len(parts) == min(most, len(suites))
    assert all(parts)
    assert sorted(one.id for part in parts for one in part) == sorted(one.id for one in suites)
    costs = [sum(map(reference._cost, part)) for part in parts]
    dearest = max(map(reference._cost, suites))
    assert max(costs) <= sum(costs) / len(parts) + dearest
