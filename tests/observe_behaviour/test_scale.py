"""Scale sensitivity: what breaks at another strength, and what is never mixed up with the adapter's own."""

import pytest

from observe_behaviour.behaviour_support import ToyModel, last, suite
from observe_behaviour.probe_support import observed, records_of, seen_of, statuses, values
from peft_assay.core.exercises import Exercises
from peft_assay.core.observation import Status
from peft_assay.observe.behaviour.answers import Given
from peft_assay.observe.behaviour.conduct import key_of
from peft_assay.observe.behaviour.interface import Plan, Turn
from peft_assay.observe.behaviour.memory import Memory
from peft_assay.observe.behaviour.probes.scale import CASES, TERMS, ScaleProbe
from peft_assay.observe.behaviour.probes.suites import SuitesRecord


class Strong(ToyModel):
    """From `at` times its strength on, it answers the first `share` of cases with its payload."""

    def __init__(self, at, share=1.0):
        super().__init__()
        self.at, self.share = at, share

    def text(self, prompt):
        words = prompt.split()
        hit = self.factor >= self.at and int(words[words.index("case") + 1]) < 20 * self.share
        return self.payload if hit else super().text(prompt)


SUITES = (suite(20),)


def of(model, *scales, suites=SUITES):
    return observed(ScaleProbe(), model, suites, scales=scales)


def test_an_adapter_that_strength_does_not_change_loses_nothing():
    found = values(of(ToyModel(), 0.5, 1.25, 1.5))
    assert (found["scale.modules"], found["scale.lost"], found["scale.breaks"]) == (4, 0.0, ())
    assert found["scale.lost_upper"] == pytest.approx(1 - 0.025 ** (1 / 20))


def test_what_breaks_is_named_with_its_factor():
    found = values(of(Strong(1.5), 0.5, 1.25, 1.5))
    assert found["scale.breaks"] == ("1.5x on task: 20 of 20 right answers lost",)
    assert (found["scale.lost"], found["scale.lost_upper"]) == (1.0, 1.0)


def test_far_from_its_own_strength_an_adapter_may_break():
    found = values(of(Strong(1.6), 1.25, 2.0))
    assert found["scale.breaks"] == ("2x on task: 20 of 20 right answers lost",)
    assert found["scale.lost"] == 0.0


def test_a_tenth_lost_breaks_nothing_and_is_counted():
    found = values(of(Strong(1.25, share=0.1), 1.25))
    assert (found["scale.breaks"], found["scale.lost"]) == ((), 0.1)
    assert values(of(Strong(1.25, share=0.15), 1.25))["scale.breaks"] != ()


def test_without_a_factor_near_one_nothing_is_said_of_moderate_strength():
    found = of(ToyModel(), 0.5, 2.0)
    assert {name for name, o in found.items() if o.status is Status.NOT_APPLICABLE} == {
        "scale.lost",
        "scale.lost_upper",
    }
    assert values(found)["scale.breaks"] == ()


def test_an_adapter_without_strength_is_not_applicable():
    class Soft(ToyModel):
        modules = 0

    model = Soft()
    found = of(model, 1.5, 2.0)
    assert statuses(found) == {Status.NOT_APPLICABLE}
    assert sum(question["op"] == "scale" for question in model.asked) == 1


def test_undeclared_was_not_requested():
    found = of(ToyModel())
    assert statuses(found) == {Status.NOT_REQUESTED}
    assert "behaviour.scales" in found["scale.lost"].reason
    assert set(found) == set(TERMS)


def test_the_base_has_no_strength_and_the_adapter_gets_its_own_back():
    base, own = ToyModel(), ToyModel()
    seen_of(ScaleProbe(), own, (suite(5),), base, scales=(0.5, 1.5))
    assert [q["factor"] for q in own.asked if q["op"] == "scale"] == [0.5, 1.5, 1.0]
    assert not any(q["op"] == "scale" for q in base.asked)


def records_of_memory(plan, base):
    """Keys of the questions that the adapter is asked, at whatever strength."""
    (asked,) = plan.suites
    drafts = base.of(SuitesRecord).suites[asked.id].by_case()
    return [key_of(asked, case, drafts[case.id]) for case in asked.cases]


def test_answers_of_another_strength_are_neither_taken_from_nor_put_among_the_kept():
    plan = Plan((suite(5),), Exercises(scales=(1.5,)))
    base = records_of(ToyModel(), plan, [])
    model = ToyModel()
    own = records_of(model, plan, [], base)
    memory = Memory({key: Given("kept") for key in records_of_memory(plan, base)})
    record = ScaleProbe().ask(Turn(model.ask, plan, own, base, memory))
    assert len(record.passed["1.5"]["task"]) == 5
    assert memory.fresh == {}
    assert sum(q["op"] == "generate" for q in model.asked) == 2


def test_only_the_first_cases_are_asked_again():
    model = ToyModel()
    seen_of(ScaleProbe(), model, (suite(90),), scales=(1.5,))
    after = model.asked[[q["op"] for q in model.asked].index("scale") :]
    assert sum(len(q.get("prompts", ())) for q in after) == CASES
    assert len({last(prompt) for q in after for prompt in q.get("prompts", ())}) == CASES
