"""Parity: the reference is asked the same cases, and what differs is counted."""

from dataclasses import replace

import pytest

from observe_behaviour.behaviour_support import STATE, ToyModel, ToySandbox, suite
from peft_assay.core.observation import Status
from peft_assay.observe.behaviour.interface import Plan
from peft_assay.observe.behaviour.observe import Conditions, exercise, observations_of
from peft_assay.observe.behaviour.probes.parity import CASES, TERMS
from peft_assay.observe.behaviour.reference import observe_base

PLAN = Plan((suite(20), suite(9, name="lookups", kind="choice")), dtype="bfloat16")


class Otherwise(ToyModel):
    """Gives other texts when it is asked precisely."""

    def _generate(self, question):
        reply = super()._generate(question)
        if not question.get("precise"):
            return reply
        texts = [f"{text} !" for text in reply["texts"]]
        traces = [
            self._seen(self.tokens(t), d["tokens"], d["watch"]) for t, d in zip(texts, question["drafts"], strict=True)
        ]
        return {**reply, "texts": texts, "tokens": [self.tokens(text) for text in texts], "traces": traces}


def observe(model, plan=PLAN):
    base = observe_base(ToySandbox(ToyModel()), plan)
    found = exercise(ToySandbox(model), {"a": b""}, plan, base)
    seen = observations_of(found, plan, Conditions(20, STATE, None, base))
    return {o.name: o for o in seen if o.name in TERMS}


def test_equal_answers_agree_with_what_so_few_cases_can_prove():
    seen = {name: o.value for name, o in observe(ToyModel()).items()}
    assert (seen["parity.n"], seen["parity.agreement"]) == (2 * CASES, 1.0)
    assert seen["parity.agreement_lower"] == pytest.approx(0.05 ** (1 / (2 * CASES)))


def test_other_answers_are_counted():
    assert observe(Otherwise())["parity.agreement"].value == 0.5


def test_in_the_reference_dtype_there_is_nothing_to_compare():
    model = ToyModel()
    found = observe(model, replace(PLAN, dtype="float32"))
    assert {o.status for o in found.values()} == {Status.NOT_APPLICABLE}
    assert not any("precise" in question for question in model.asked)


def test_only_the_first_cases_are_asked_again():
    model = ToyModel()
    observe(model)
    again = [question for question in model.asked if question.get("precise")]
    assert [len(question.get("prompts", question.get("items", ()))) for question in again] == [CASES, CASES]
