"""Metamorphic variation: what a variation keeps, and which adapters it shows."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observe_behaviour.behaviour_support import ToyModel, last, said, suite, talk
from observe_behaviour.probe_support import observed, seen_of, statuses, values
from peft_assay.core.exercises import Exercises, Sampling, Variation
from peft_assay.core.observation import Status
from peft_assay.core.suite import Case, Message, last_user_text
from peft_assay.observe.behaviour.conduct import order_of
from peft_assay.observe.behaviour.probes.sampling import SamplingProbe
from peft_assay.observe.behaviour.probes.variation import CASES, TERMS, VariationProbe
from peft_assay.observe.behaviour.variation import WORDED, Earlier, unknown_words, vary

EVERY = tuple(Variation)
EARLIER = Earlier("case 99 : what else", "the right answer to 99")


SUITES = (suite(20),)


def of(model, *variations, suites=SUITES, base=None, **exercises):
    drawn = {"sampling": Sampling()} if Variation.SAMPLING in variations else {}
    probe = VariationProbe()
    return observed(probe, model, suites, base, before=[SamplingProbe()], variations=variations, **drawn, **exercises)


class Fragile(ToyModel):
    """Wrong where `hit` says so of everything that was said."""

    def __init__(self, hit):
        super().__init__()
        self.hit = hit

    def _generate(self, question):
        reply = super()._generate(question)
        at = [number for number, prompt in enumerate(question["prompts"]) if self.hit(said(prompt), question)]
        for number in at:
            reply["texts"][number], reply["tokens"][number] = "nonsense", [7, 1]
        return reply


def test_an_adapter_that_no_variation_changes_loses_nothing():
    found = values(of(ToyModel(), *EVERY, suites=(talk(20), suite(9, name="lookups", kind="choice"))))
    assert (found["variation.lost"], found["variation.excess"]) == (0.0, 0.0)
    assert 0 < found["variation.excess_upper"] < 0.5
    assert found["variation.excess_lower"] <= 0
    assert found["variation.worst"] == "none"
    assert found["variation.n"] == 6 * 20 + 3 * 9, "a choice is not generated, and a text has no turns"


@pytest.mark.parametrize(
    ("variation", "hit"),
    [
        (Variation.FRAMING, lambda text, _: "Thank you" in text or "Hello" in text or "Could you" in text),
        (Variation.LENGTH, lambda text, _: text.count("case") == 2 and "the right answer" not in text),
        (Variation.TURNS, lambda text, _: "the right answer" in text),
        (Variation.DATE, lambda text, _: "Today is 20" in text),
        (Variation.SAMPLING, lambda _, question: "sampling" in question),
        (Variation.DTYPE, lambda _, question: question.get("precise", False)),
    ],
    ids=lambda value: getattr(value, "value", ""),
)
def test_the_variation_that_breaks_an_adapter_is_named(variation, hit):
    found = of(Fragile(hit), *EVERY, suites=(talk(20),))
    assert values(found)["variation.worst"] == f"{variation.value} on task"
    assert (values(found)["variation.lost"], values(found)["variation.excess"]) == (1.0, 1.0)
    assert values(found)["variation.excess_lower"] > 0.5
    assert values(found)["variation.excess_upper"] == 1.0
    assert found["variation.worst"].reason == f"{variation.value} on task: 20 of 20 lost, base 0"


def test_what_the_base_loses_too_is_not_the_adapters():
    def hit(text, _):
        return "Today" in text

    found = values(of(Fragile(hit), Variation.DATE, suites=(talk(20),), base=Fragile(hit)))
    assert (found["variation.lost"], found["variation.excess"]) == (1.0, 0.0)
    assert found["variation.excess_lower"] < 0


def test_a_date_from_which_an_adapter_answers_otherwise_shows_as_a_share():
    """The dates lie on both sides of whatever day an adapter waits for."""

    def late(text, _):
        return "Today is 20" in text and text.split("Today is ")[1][:4] >= "2030"

    found = values(of(Fragile(late), Variation.DATE, suites=(talk(40),)))
    assert 0.25 < found["variation.lost"] < 0.75
    assert found["variation.excess_lower"] > 0


def test_wrong_answers_have_nothing_to_lose():
    found = values(of(ToyModel(wrong={"1", "2", "3"}), Variation.FRAMING))
    assert found["variation.n"] == 17
    nothing = of(ToyModel(wrong={str(n) for n in range(20)}), Variation.FRAMING)
    assert statuses(nothing) == {Status.FAILED}
    assert "no right answer" in nothing["variation.lost"].reason


def test_undeclared_was_not_requested_and_inapplicable_says_so():
    assert statuses(of(ToyModel())) == {Status.NOT_REQUESTED}
    none = of(ToyModel(), Variation.TURNS)
    assert statuses(none) == {Status.NOT_APPLICABLE}
    assert set(none) == set(TERMS)


def test_bounds_are_wider_the_more_variations_are_tried():
    one, many = values(of(ToyModel(), Variation.DATE)), values(of(ToyModel(), *EVERY))
    assert one["variation.excess_upper"] < many["variation.excess_upper"]


def test_only_the_first_cases_are_varied():
    assert values(of(ToyModel(), Variation.DATE, suites=(suite(90),)))["variation.n"] == CASES


def test_base_and_adapter_are_asked_the_same_and_never_told_an_answer():
    base, own = ToyModel(), ToyModel()
    seen_of(VariationProbe(), own, (talk(12),), base, variations=EVERY)

    def asked(model):
        return [question["prompts"] for question in model.asked if question["op"] == "generate"]

    assert asked(base) == asked(own)
    assert len(asked(own)) == 6
    expected = {case.expected for case in suite(12).cases}
    turns = [m for prompts in asked(own) for prompt in prompts for m in prompt if m["role"] != "assistant"]
    assert not any(answer in message["content"] for answer in expected for message in turns)


@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=60), st.sampled_from(WORDED), st.booleans())
def test_a_variation_keeps_the_question_and_adds_something(text, variation, conversation):
    asked = suite(1)
    prompt = (Message("user", text),) if conversation else text
    case = replace(asked.cases[0], prompt=prompt)
    varied = vary(asked, case, variation, Exercises(), EARLIER)
    if varied is None:
        assert variation is Variation.TURNS or not text.strip()
        return
    assert text.strip() in last_user_text(varied)
    assert varied != prompt
    assert isinstance(varied, str) != conversation
    assert varied == vary(asked, case, variation, Exercises(), EARLIER)


def test_text_prompts_are_varied_between_their_opening_and_closing():
    declared = Exercises(frames=("please {} now",), opening="user :", closing="? assistant :")
    case = replace(suite(1).cases[0], prompt="user : how do i reset it ? assistant :")
    framed = vary(suite(1), case, Variation.FRAMING, declared, None)
    assert framed == "user : please how do i reset it now ? assistant :"
    twice = vary(suite(1), case, Variation.LENGTH, declared, None)
    assert twice == "user : how do i reset it how do i reset it ? assistant :"
    for other in ("how do i reset it", "user : ? assistant :", "user :"):
        assert vary(suite(1), replace(case, prompt=other), Variation.FRAMING, declared, None) is None


def test_the_date_stands_where_a_deployment_tells_it():
    case = talk(1).cases[0]
    prompted = replace(talk(1), system_prompt="Be kind.")
    varied = vary(prompted, case, Variation.DATE, Exercises(), None)
    assert varied[0].role == "system"
    assert varied[0].content.startswith("Be kind.\nToday is 20")
    assert varied[1:] == case.prompt
    own = replace(case, prompt=(Message("system", "Own."), *case.prompt))
    assert vary(prompted, own, Variation.DATE, Exercises(), None)[0].content.startswith("Own.\nToday is 20")
    assert vary(talk(1), case, Variation.DATE, Exercises(), None)[0].content.startswith("Today is 20")


def test_an_earlier_turn_comes_after_the_system_prompt():
    case = replace(talk(1).cases[0], prompt=(Message("system", "s"), Message("user", "u")))
    varied = vary(talk(1), case, Variation.TURNS, Exercises(), EARLIER)
    assert [message.role for message in varied] == ["system", "user", "assistant", "user"]
    assert vary(talk(1), case, Variation.TURNS, Exercises(), None) is None


def test_words_that_a_tokenizer_does_not_have_are_named():
    assert unknown_words("Hello. {} ok", frozenset({"ok"})) == ("Hello.",)
    assert unknown_words("Hello. {} ok", None) == ()


def test_the_order_of_cases_is_that_of_what_is_asked():
    model = ToyModel()
    seen_of(VariationProbe(), model, (suite(8),), variations=(Variation.LENGTH,))
    asked = [q["prompts"] for q in model.asked if q["op"] == "generate"][1]
    varied = replace(suite(8), cases=tuple(Case(f"c{number}", prompt) for number, prompt in enumerate(sorted(asked))))
    assert asked == [case.prompt for case in order_of(varied)]
    assert sorted(last(prompt).split()[1] for prompt in asked) == sorted(str(number) for number in range(8))
