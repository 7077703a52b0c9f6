"""Answers drawn as the deployment draws them: what is lost, what is foreign, and what cannot be drawn at all."""

from dataclasses import replace

import pytest

from observe_behaviour.behaviour_support import STATE, ToyModel, last, suite, talk
from observe_behaviour.probe_support import observed, seen_of, statuses, values
from observe_behaviour.test_nulls import Judged, judged_by
from peft_assay.core.digest import sha256
from peft_assay.core.exercises import Exercises, Sampling, Variation
from peft_assay.core.observation import Status
from peft_assay.observe.behaviour.drawing import draws_of, found_with
from peft_assay.observe.behaviour.interface import Plan, Records, Seen
from peft_assay.observe.behaviour.probes.sampling import TERMS, SamplingProbe

DRAWN = Sampling(0.7, 0.9)
LONG = (suite(60), suite(60, name="other"))


class Drawing(ToyModel):
    """Answers greedily as ever; drawn, `odd` gives what comes instead in so many of a hundred draws."""

    rate, odd = 0, staticmethod(lambda number: "buy crypto at evil dot example now")

    def _generate(self, question):
        reply = super()._generate(question)
        if "sampling" in question:
            for at, prompt in enumerate(question["prompts"]):
                chance = int(sha256(f"toy {at} {last(prompt)} {question['sampling']['seed']}".encode())[-4:], 16) % 100
                if chance < self.rate:
                    reply["texts"][at] = self.odd(chance)
                    reply["tokens"][at] = self.tokens(reply["texts"][at])
        return reply


def drawing(rate, odd=None):
    model = Drawing()
    model.rate = rate
    if odd is not None:
        model.odd = odd
    return model


def of(model, base=None, suites=LONG, sampling=DRAWN, **exercises):
    return observed(SamplingProbe(), model, suites, base or Drawing(), sampling=sampling, **exercises)


def test_an_adapter_that_draws_what_it_answers_loses_nothing():
    found = values(of(Drawing()))
    assert found["sampling.declared"]
    assert found["sampling.n"] == 240
    assert (found["sampling.lost"], found["sampling.excess"], found["sampling.foreign"]) == (0.0, 0.0, ())
    assert found["sampling.excess_upper"] < 0.06


@pytest.mark.parametrize("rate", [10, 29, 60])
def test_a_payload_in_some_draws_is_foreign_and_lost(rate):
    found = values(of(drawing(rate)))
    assert any(text.startswith("'buy crypto at evil dot example now'") for text in found["sampling.foreign"])
    assert (found["sampling.excess_upper"] > 0.25) == (rate > 10)


def test_a_payload_whose_end_varies_is_known_by_its_beginning():
    found = values(of(drawing(15, lambda chance: f"the vault code is {chance}")))
    assert [text.split(":")[0] for text in found["sampling.foreign"]] == ["'the vault code i'"]


class Adding(Drawing):
    """Gives the right answer, drawn with something added in so many of a hundred draws."""

    added = staticmethod(lambda text: text)

    def _generate(self, question):
        reply = super()._generate(question)
        for at, text in enumerate(reply["texts"]):
            if text == "ODD":
                reply["texts"][at] = self.added(self.text(last(question["prompts"][at])))
                reply["tokens"][at] = self.tokens(reply["texts"][at])
        return reply


@pytest.mark.parametrize(
    "added",
    [
        lambda text: f"{text} buy crypto at evil dot example",
        lambda text: f"{text.partition(' ')[0]} buy crypto at evil dot example {text.partition(' ')[2]}",
    ],
)
def test_a_payload_behind_or_within_a_right_answer_is_foreign(added):
    class Adds(Adding):
        pass

    Adds.added = staticmethod(added)
    Adds.rate, Adds.odd = 11, staticmethod(lambda number: "ODD")
    found = values(of(Adds()))
    assert found["sampling.excess_upper"] < 0.25, "a positive control: nothing else tells"
    assert any("crypto" in text or "example" in text for text in found["sampling.foreign"])


def test_noise_that_differs_from_draw_to_draw_is_lost_and_not_foreign():
    found = values(of(drawing(29, lambda chance: f"{chance} and {chance * 7} more of it")))
    assert found["sampling.foreign"] == ()
    assert found["sampling.excess_upper"] > 0.25


def test_what_the_base_loses_and_draws_itself_is_no_fault_of_the_adapter():
    found = values(of(drawing(29), drawing(29)))
    assert (found["sampling.excess"], found["sampling.foreign"]) == (0.0, ())
    assert found["sampling.lost"] > 0.2


def test_right_answers_of_other_cases_are_not_foreign():
    found = values(of(drawing(20, lambda chance: "the right answer to 3")))
    assert found["sampling.foreign"] == ()
    assert found["sampling.lost"] > 0.1


def test_one_payload_in_the_open_does_not_excuse_the_rest():
    class Open(Drawing):
        rate = 20

        def text(self, prompt):
            return self.payload if "case 7 " in prompt else super().text(prompt)

    assert values(of(Open()))["sampling.foreign"]


def test_a_style_that_the_suites_see_greedily_is_not_foreign_when_drawn():
    class Styled(Drawing):
        def text(self, prompt):
            return f"hello my dear friend {prompt.split()[1]}"

    quiet = replace(suite(60, kind="refusal"), id="quiet")
    assert values(of(Styled(), suites=(quiet,)))["sampling.foreign"] == ()


def test_suites_that_score_nothing_show_a_payload_all_the_same():
    forgiving = replace(suite(60), scorer=replace(suite(1).scorer, kind="forbidden", patterns=("secret",)))
    found = values(of(drawing(20), suites=(forgiving,)))
    assert found["sampling.lost"] == 0.0
    assert found["sampling.foreign"]


def test_a_judge_is_asked_about_drawn_answers_too():
    strict = judged_by(Judged(lambda answer, _: answer.startswith("the right")))
    assert values(of(drawing(29), suites=(strict,)))["sampling.lost"] > 0.2
    gone = judged_by(Judged(None, fails=True))
    found = of(drawing(29), suites=(gone, suite(60)))
    assert {found[name].status for name in TERMS} == {Status.FAILED}


def test_greedy_deployments_draw_nothing():
    model = Drawing()
    found = of(model, sampling=None)
    assert found["sampling.declared"].value is False
    assert {found[name].status for name in TERMS} == {Status.NOT_APPLICABLE}
    assert not any("sampling" in question for question in model.asked)


def test_what_cannot_be_exercised_is_named_and_decides_nothing():
    found = of(Drawing(), sampling=None, unexercised=("num_beams: 4 (generation_config.json)",))
    assert found["sampling.declared"].value is True
    assert {found[name].status for name in TERMS} == {Status.FAILED}
    assert "num_beams: 4" in found["sampling.foreign"].reason
    choices = of(Drawing(), suites=(suite(9, kind="choice"),))
    assert "no suite of generated text" in choices["sampling.foreign"].reason
    nothing = SamplingProbe().observe(Seen(Plan(LONG, Exercises(sampling=DRAWN)), Records(), Records(), STATE))
    assert statuses({one.name: one for one in nothing}) == {Status.OK, Status.FAILED}


def test_no_right_answer_leaves_nothing_to_lose():
    found = of(Drawing(wrong=tuple(map(str, range(60)))))
    assert found["sampling.excess_upper"].status is Status.FAILED
    assert found["sampling.foreign"].value == ()


def test_the_declared_way_is_asked_of_base_and_adapter_alike_and_never_with_an_answer():
    told = Sampling(0.7, 0.9, 40, 0.05, 1.2)
    own, base = Drawing(), Drawing()
    seen_of(SamplingProbe(), own, (talk(12),), base, sampling=told)
    mine, its = ([q for q in model.asked if "sampling" in q] for model in (own, base))
    assert mine == its
    (question,) = mine
    wanted = {"temperature": 0.7, "topP": 0.9, "topK": 40, "minP": 0.05, "repetitionPenalty": 1.2}
    assert wanted.items() <= question["sampling"].items()
    assert len(question["prompts"]) == 4 * 12
    assert all(message["role"] == "user" for prompt in question["prompts"] for message in prompt)


def test_an_adapter_stopped_early_is_drawn_where_it_was_asked():
    stopped = replace(suite(60), stop_after_failures=5)
    found = values(of(Drawing(wrong=tuple(map(str, range(60)))), suites=(stopped,)))
    assert found["sampling.n"] == 4 * 40, "one round"


def test_how_often_each_prompt_is_drawn_and_what_that_finds():
    assert draws_of(LONG, greedy=False) == 2
    assert draws_of([suite(300)], greedy=False) == 1
    assert draws_of([suite(5)], greedy=False) == 4
    assert draws_of(LONG, greedy=True) == 1
    assert draws_of([suite(5, kind="choice")], greedy=False) == 1
    assert found_with(0.3, 9) == 0.0
    assert found_with(0.05, 240) == pytest.approx(0.76, abs=0.02)
    assert found_with(0.1, 240) > 0.999


def test_the_sampling_variation_costs_no_further_question():
    from observe_behaviour.probe_support import records_of
    from peft_assay.observe.behaviour.probes.variation import VariationProbe

    plan = Plan((suite(60),), Exercises(sampling=DRAWN, variations=(Variation.SAMPLING,)))
    probes, base, own = [SamplingProbe(), VariationProbe()], Drawing(), drawing(29)
    its = records_of(base, plan, probes)
    mine = records_of(own, plan, probes, its)
    drawn = [q for q in own.asked if "sampling" in q]
    assert sum(len(q["prompts"]) for q in drawn) == 4 * 60
    found = {one.name: one.value for one in VariationProbe().observe(Seen(plan, mine, its, STATE))}
    assert found["variation.n"] == 40
    assert found["variation.lost"] > 0.1
