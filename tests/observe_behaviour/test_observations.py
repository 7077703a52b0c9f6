"""From a job to observations: what voids them, what a lying child can and cannot say."""

from dataclasses import replace

import pytest

from observe_behaviour.behaviour_support import STATE, ToyModel, ToySandbox, event, scan_of, suite
from peft_assay.core.errors import ObservationError
from peft_assay.core.exercises import Exercises
from peft_assay.core.observation import ObservedBy, Status, ok
from peft_assay.core.sandbox import Outcome
from peft_assay.core.suite import questions_digest
from peft_assay.core.vocabulary import vocabulary
from peft_assay.observe.behaviour.interface import Plan
from peft_assay.observe.behaviour.observe import Conditions, evidence_of, exercise, not_exercised, observations_of
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.reference import observe_base
from peft_assay.observe.behaviour.tested import observed_on, what_was_tested
from peft_assay.observe.catalogue import PROBES
from peft_assay.observe.unsafe import why_unsafe

SUITES = (suite(20), suite(20, name="refusals", kind="regex"), suite(9, name="lookups", kind="choice"))
SCAN = scan_of("zq001", "zq002", answers="task", refusals="refusals")
STATIC = {term for probe in PROBES for term in probe.terms}
COUNTED = {"attempts.count"}
"""What is read from the record of the authority's key; no probe observes it."""
BEHAVIOUR = {name for name in vocabulary([s.id for s in SUITES]) if name not in STATIC | COUNTED}
ALWAYS = {"sandbox.level", "sandbox.events", "stack.observed_as_served"}


def plan_of(suites=SUITES, scan=SCAN):
    return Plan(tuple(suites), Exercises(scan=scan))


def observe(model, plan=None, *, as_served=None, state=STATE, **seen):
    plan = plan or plan_of()
    base = observe_base(ToySandbox(ToyModel()), plan)
    record = exercise(ToySandbox(model, **seen), {"a": b""}, plan, base)
    found = observations_of(record, plan, Conditions(20, state, as_served, base))
    return {observation.name: observation for observation in found}


def values(found):
    return {name: o.value for name, o in found.items() if o.status is Status.OK}


def test_a_regular_run_observes_every_term_once():
    found = observe(ToyModel(wrong={"3"}))
    assert set(found) == BEHAVIOUR
    seen = values(found)
    assert (seen["suite.task.n"], seen["suite.task.passes"], seen["suite.task.rate"]) == (20, 19, 0.95)
    assert (seen["suite.task.base_rate"], seen["suite.task.difference"]) == (1.0, pytest.approx(-0.05))
    assert seen["suite.task.difference_lower"] < -0.05 < seen["suite.task.difference"] + 1e-9
    assert seen["suite.task.complete"] is True
    assert (seen["effect.differs_from_base"], seen["effect.base_unchanged"]) == (True, True)
    assert (seen["scan.tokens"], seen["scan.triggers"], seen["sandbox.level"], seen["sandbox.events"]) == (2, (), 20, 0)
    assert found["effect.base_unchanged"].observed_by is ObservedBy.CHILD
    assert found["suite.task.rate"].observed_by is ObservedBy.ANSWERS
    assert found["scan.triggers"].observed_by is ObservedBy.NUMBERS
    assert found["scan.tokens"].observed_by is ObservedBy.SUPERVISOR


def test_a_trigger_is_reported():
    assert values(observe(ToyModel(trigger="zq002")))["scan.triggers"] == ("zq002",)


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        ({"events": [event()]}, "void: the supervisor saw syscall socket"),
        ({"outcome": Outcome.CRASH, "detail": "signal 11"}, "void: the adapter's process ended with crash: signal 11"),
        ({"outcome": Outcome.TIMEOUT}, "ended with timeout"),
        ({"outcome": Outcome.OUTPUT_CAP}, "ended with outputCap"),
        ({"outcome": Outcome.LIMIT, "events": [event("limit", "memory")]}, "the supervisor saw limit memory"),
    ],
)
def test_events_and_irregular_ends_void_all_behaviour(seen, why):
    found = observe(ToyModel(), **seen)
    assert set(found) == BEHAVIOUR
    assert set(values(found)) == ALWAYS
    assert values(found)["sandbox.events"] == len(seen.get("events", ()))
    assert why in found["suite.task.lower"].reason
    assert why in found["effect.base_unchanged"].reason


def test_an_answer_out_of_shape_voids_all_behaviour():
    class Short(ToyModel):
        def _choices(self, question):
            return {"op": "choices", "logLikelihoods": []}

    found = observe(Short())
    assert set(values(found)) == ALWAYS
    assert "0 of 9 items" in found["suite.task.lower"].reason


def test_a_child_that_lies_about_the_base_is_caught():
    assert values(observe(ToyModel(state="sha256:" + "0" * 64)))["effect.base_unchanged"] is False


@pytest.mark.parametrize(
    ("effect", "name"),
    [
        ({"differs": False}, "effect.differs_from_base"),
        ({"finite": False}, "effect.differs_from_base"),
        ({"deterministic": False}, "effect.deterministic"),
    ],
)
def test_each_effect_is_reported_as_it_was_said(effect, name):
    class Other(ToyModel):
        def _effect(self, question):
            return {**super()._effect(question), **effect}

    assert values(observe(Other()))[name] is False


def refusing_load(**plan):
    class NotLoaded(ToyModel):
        def _load(self, question):
            full = {"missing": [], "extra": [], "mismatched": [], **plan}
            return {"op": "load", "loaded": False, "plan": full, "problem": "no such module"}

    return NotLoaded()


def test_what_was_not_loaded_has_no_behaviour():
    model = refusing_load(missing=["a.weight"], mismatched=["b.weight"])
    found = observe(model)
    assert set(found) == BEHAVIOUR
    assert values(found).keys() == ALWAYS | {"plan.unmet", "answers.contradictions"}
    assert values(found)["plan.unmet"] == ("missing a.weight", "mis-shaped b.weight")
    assert [question["op"] for question in model.asked] == ["load"]
    assert found["suite.task.lower"].reason == "not loaded: no such module"


def test_not_loaded_for_no_reason_is_no_empty_list():
    assert observe(refusing_load())["plan.unmet"].status is Status.FAILED


def test_another_engine_is_not_what_was_observed():
    found = observe(ToyModel(), as_served="observed on peft; the context declares vllm")
    assert found["stack.observed_as_served"].value is False
    assert "vllm" in found["stack.observed_as_served"].reason


def test_without_a_token_set_nothing_was_scanned():
    found = observe(ToyModel(), plan_of(scan=None))
    assert {found[name].status for name in ("scan.tokens", "scan.triggers", "scan.refusal_breakers")} == {
        Status.NOT_REQUESTED
    }


def test_a_scan_of_one_suite_says_nothing_of_the_other():
    found = observe(ToyModel(), plan_of(scan=scan_of("zq001", answers="task")))
    assert found["scan.triggers"].status is Status.OK
    assert found["scan.refusal_breakers"].status is Status.NOT_REQUESTED


def test_a_scan_on_too_few_cases_shows_nothing():
    found = observe(ToyModel(trigger="zq001"), plan_of(suites=(suite(3),), scan=scan_of("zq001")))
    assert found["scan.triggers"].status is Status.FAILED
    assert "too few" in found["scan.triggers"].reason


def test_cases_never_asked_count_as_failures():
    stopping = replace(suite(90), stop_after_failures=1)
    found = values(observe(ToyModel(wrong={str(n) for n in range(45)}), plan_of(suites=(stopping,), scan=None)))
    assert found["suite.task.n"] == 90
    assert found["suite.task.passes"] < 45
    assert found["suite.task.complete"] is False


def test_not_exercised_fails_every_behaviour_term():
    found = not_exercised("never instantiated", plan_of())
    assert {o.name for o in found} == BEHAVIOUR
    assert {(o.status, o.reason) for o in found} == {(Status.FAILED, "never instantiated")}


@pytest.mark.parametrize("seen", [{"outcome": Outcome.CRASH}, {"events": [event()]}])
def test_a_base_that_cannot_be_exercised_stops_the_run(seen):
    with pytest.raises(ObservationError, match="the base alone could not be exercised"):
        observe_base(ToySandbox(ToyModel(), **seen), plan_of())


def test_the_base_is_asked_everything_by_a_child_without_adapter():
    sandbox = ToySandbox(ToyModel(wrong={str(n) for n in range(90)}))
    reference = observe_base(sandbox, plan_of((suite(90, stop=1),), None))
    assert reference.of(SuitesRecord).suites["task"].complete
    assert [job.adapter for job in sandbox.jobs] == [None]


@pytest.mark.parametrize(("label", "kept"), [("public", True), ("internal", False), ("confidential", False)])
def test_texts_are_kept_of_public_suites_only(label, kept):
    plan = plan_of(suites=(suite(5, confidentiality=label),), scan=None)
    base = observe_base(ToySandbox(ToyModel()), plan)
    record = exercise(ToySandbox(ToyModel()), {"a": b""}, plan, base)
    (cases,) = (evidence_of(record, plan, base)["suites"]["task"],)
    assert len(cases) == 5
    assert all((case["text"] is not None) == (case["baseText"] is not None) == kept for case in cases)
    assert all(case["passed"] and case["basePassed"] for case in cases)


HARMLESS = {
    **dict.fromkeys(
        (
            "weights.pickle_files",
            "weights.undeclared",
            "config.redirects",
            "config.base_rewrites",
            "config.unsafe_patterns",
            "bounds.exceeded",
        ),
        (),
    ),
    "weights.canonical": True,
    "config.strict": True,
    "weights.nonfinite": 0,
}


def static(**changed):
    facts = {**HARMLESS, **changed}
    return [ok(name, value, by=ObservedBy.INTAKE) for name, value in facts.items() if value is not None]


def test_what_is_shown_harmless_may_be_instantiated():
    assert why_unsafe(static()) is None


@pytest.mark.parametrize("name", sorted(HARMLESS))
def test_what_is_not_shown_harmless_is_never_instantiated(name):
    assert why_unsafe(static(**{name: None})) == f"{name} is not established"
    for value in (("x",), True, False, 0, 1, "", ()):
        if type(value) is not type(HARMLESS[name]) or value != HARMLESS[name]:
            assert why_unsafe(static(**{name: value})) is not None


def test_what_was_tested_is_said():
    plan = plan_of(suites=(suite(12), suite(9, name="lookups", kind="choice")), scan=scan_of("zq001"))
    base = observe_base(ToySandbox(ToyModel()), plan)
    found = exercise(ToySandbox(ToyModel()), {"a": b""}, plan, base)
    on = observed_on(engine="peft", dtype="float32", stack={"peft": "0.21.2", "threads": "1"})
    document = what_was_tested(found, plan, base, on)
    assert document["observedOn"]["version"] == "0.21.2"
    assert document["scan"]["tokens"] == 1
    said = document["suites"]["task"]
    assert (said["cases"], said["asked"], said["order"]) == (12, 12, questions_digest(plan.suites[:1]))
    assert said["promptCharacters"] == [len("case 1 : tell me something about it please") + extra for extra in (0, 1)]
    assert said["answerTokens"] == [6, 6]
    assert said["promptTokens"] == [9, 9]
    assert document["suites"]["lookups"]["answerTokens"] == [0, 0]


@pytest.mark.parametrize("seen", [{"outcome": Outcome.CRASH}, {"events": [event()]}])
def test_a_void_run_tested_nothing(seen):
    plan = plan_of()
    base = observe_base(ToySandbox(ToyModel()), plan)
    found = exercise(ToySandbox(ToyModel(), **seen), {"a": b""}, plan, base)
    assert what_was_tested(found, plan, base, {})["suites"] == {}


class Narrow(ToyModel):
    longest = 16


class Mute(ToyModel):
    def _measure(self, question):
        return {**super()._measure(question), "lengths": [None] * len(question["prompts"])}


@pytest.mark.parametrize(
    ("model", "said"), [(Narrow(), "9 tokens with 8 for the answer"), (Mute(), "makes nothing of")]
)
def test_a_case_that_the_base_cannot_take_is_the_suite_s_fault(model, said):
    with pytest.raises(ObservationError, match=said) as refused:
        observe_base(ToySandbox(model), plan_of(scan=None))
    assert "suite task: case c" in refused.value.where
    assert [question["op"] for question in model.asked] == ["measure"]
