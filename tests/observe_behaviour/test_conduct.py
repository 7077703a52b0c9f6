"""Rounds, stopping, scoring; and a child that answers something else."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observe_behaviour.behaviour_support import ToyModel, suite
from peft_assay.core.sandbox import ChildGone
from peft_assay.observe.behaviour.answers import Given, margin_of
from peft_assay.observe.behaviour.conduct import ROUND, conduct_suite, order_of
from peft_assay.observe.behaviour.divergence import suite_drift
from peft_assay.observe.behaviour.memory import Memory
from peft_assay.observe.behaviour.scorers.catalogue import text_scorer
from peft_assay.observe.behaviour.scorers.numbers import choice_passes


def case(kind="exact"):
    return suite(1, kind=kind).cases[0]


@pytest.mark.parametrize("kind", ["exact", "regex", "choice"])
def test_every_case_is_asked_once_in_the_order_of_digests(kind):
    model, asked = ToyModel(refuses=kind == "regex"), suite(2 * ROUND + 5, kind=kind)
    record = conduct_suite(model.ask, asked)
    assert record.complete
    assert record.passes == len(asked.cases)
    assert [answer.case for answer in record.answers] == [c.id for c in order_of(asked)]
    assert sum(question["op"] != "trace" for question in model.asked) == 3


@pytest.mark.parametrize("kind", ["exact", "choice"])
def test_the_child_is_told_no_answers(kind):
    model, asked = ToyModel(), suite(6, kind=kind)
    conduct_suite(model.ask, asked)
    for question in model.asked:
        assert set(question) <= {"op", "prompts", "maxNewTokens", "items", "top", "margins"}
        assert "right answer" not in str(question)
        for item in question.get("items", []):
            assert set(item) in ({"prompt", "choices"}, {"prompt", "continuation"})


def test_wrong_answers_fail_and_the_rest_pass():
    for kind in ("exact", "choice"):
        record = conduct_suite(ToyModel(wrong={"1", "4"}).ask, suite(10, kind=kind))
        assert {answer.case for answer in record.answers if not answer.passed} == {"c1", "c4"}


@pytest.mark.parametrize(("stop", "rounds"), [(1, 1), (ROUND, 1), (ROUND + 1, 2), (10_000, 3), (None, 3)])
def test_the_supervisor_stops_between_rounds(stop, rounds):
    model = ToyModel(wrong={str(n) for n in range(200)})
    record = conduct_suite(model.ask, suite(2 * ROUND + 5, stop=stop))
    assert sum(question["op"] == "generate" for question in model.asked) == rounds
    assert record.complete == (rounds == 3)
    assert record.passes == 0


def test_a_suite_that_passes_is_never_stopped():
    assert conduct_suite(ToyModel().ask, suite(2 * ROUND, stop=1)).complete


def test_the_order_depends_on_digests_alone():
    asked = suite(30)
    assert order_of(asked) == order_of(asked)
    assert order_of(asked) != asked.cases
    assert sorted(c.id for c in order_of(asked)) == sorted(c.id for c in asked.cases)


class Lying(ToyModel):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def ask(self, question):
        return self.change(super().ask(question))


LIES = {
    "too few texts": lambda r: {**r, "texts": r["texts"][:-1]},
    "too many texts": lambda r: {**r, "texts": [*r["texts"], "x"]},
    "too few tokens": lambda r: {**r, "tokens": r["tokens"][1:]},
    "another answer": lambda r: {"op": "score", "logLikelihoods": [0.0]},
    "an extra field": lambda r: {**r, "passed": True},
    "no field": lambda r: {"op": "generate"},
    "texts of numbers": lambda r: {**r, "texts": [1] * len(r["texts"])},
    "tokens of floats": lambda r: {**r, "tokens": [[1.5]] * len(r["texts"])},
    "nothing": lambda r: {},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_child_that_answers_out_of_shape_is_gone(lie):
    with pytest.raises(ChildGone, match="the child answered"):
        conduct_suite(Lying(LIES[lie]).ask, suite(5))


CHOICE_LIES = {
    "too few items": lambda v: v[1:],
    "too few choices": lambda v: [v[0][:-1], *v[1:]],
    "too many choices": lambda v: [[*v[0], 0.0], *v[1:]],
    "no choices": lambda v: [[], *v[1:]],
    "nan": lambda v: [[float("nan")] * 3, *v[1:]],
    "infinity": lambda v: [[float("inf"), 0.0, 0.0], *v[1:]],
    "text": lambda v: [["0.0", "1.0", "2.0"], *v[1:]],
}


@pytest.mark.parametrize("lie", CHOICE_LIES)
def test_likelihoods_that_are_none_are_not_scored(lie):
    change = CHOICE_LIES[lie]
    model = Lying(lambda reply: {**reply, "logLikelihoods": change(reply["logLikelihoods"])})
    with pytest.raises(ChildGone):
        conduct_suite(model.ask, suite(5, kind="choice"))


def test_a_child_that_ends_ends_the_conversation():
    def gone(question):
        raise ChildGone("killed")

    with pytest.raises(ChildGone, match="killed"):
        conduct_suite(gone, suite(3))


def test_exact_joins_white_space_and_nothing_else():
    passes = text_scorer(suite(1))
    right = case().expected
    assert passes(case(), right)
    assert passes(case(), f"  {right.replace(' ', chr(10))} \t")
    for wrong in ("", right + ".", right.upper(), right + " " + right):
        assert not passes(case(), wrong)


def test_regex_searches():
    refuses = text_scorer(suite(1, kind="regex"))
    assert refuses(case("regex"), "sorry , no")
    assert not refuses(case("regex"), "of course . sorry")


def test_a_tie_is_a_failure():
    three = case("choice")
    assert choice_passes(three, [-1.0, -2.0, -3.0])
    assert not choice_passes(three, [-1.0, -1.0, -3.0])
    assert not choice_passes(three, [-2.0, -1.0, -3.0])


@given(st.lists(st.floats(-50, 0), min_size=3, max_size=3))
def test_a_choice_passes_exactly_when_the_right_one_is_strictly_best(scores):
    assert choice_passes(case("choice"), scores) == (scores[0] > max(scores[1:]))


def test_what_was_kept_is_not_asked_again_and_is_scored_anew():
    asked, first = suite(ROUND + 5), Memory()
    before = conduct_suite(ToyModel().ask, asked, memory=first)
    again = Memory(kept=first.fresh)
    assert conduct_suite(nobody, asked, memory=again) == before
    assert again.fresh == {}
    other = replace(asked, cases=tuple(replace(case, expected="something else") for case in asked.cases))
    assert conduct_suite(nobody, other, memory=Memory(kept=first.fresh)).passes == 0


def test_only_the_changed_case_is_asked_again():
    asked, first = suite(10), Memory()
    conduct_suite(ToyModel().ask, asked, memory=first)
    changed = replace(asked.cases[3], prompt="case 77 : and this ?", expected="the right answer to 77")
    edited = replace(asked, cases=(*asked.cases[:3], changed, *asked.cases[4:]))
    model = ToyModel()
    assert conduct_suite(model.ask, edited, memory=Memory(kept=first.fresh)).passes == 10
    assert [question["prompts"] for question in model.asked if question["op"] == "generate"] == [[changed.prompt]]


@pytest.mark.parametrize("label", ["internal", "confidential"])
def test_answers_to_suites_that_are_not_public_are_not_kept(label):
    memory = Memory()
    conduct_suite(ToyModel().ask, suite(5, confidentiality=label), memory=memory)
    assert memory.fresh == {}


def nobody(question):
    raise AssertionError(f"asked {question['op']}")


class Numbers:
    """Answers `score` and `classify` with what it is given."""

    def __init__(self, **replies):
        self.replies, self.asked = replies, []

    def ask(self, question):
        self.asked.append(question)
        return {"op": question["op"], **self.replies}


def numbered(kind, **scorer):
    from peft_assay.core.digest import sha256
    from peft_assay.core.suite import Case, Scorer, ScorerKind, Suite
    from peft_assay.observe.suites.forms import FORMS

    kind = ScorerKind(kind)
    cases = tuple(Case(f"c{n}", f"p{n}", expected="good") for n in range(3))
    return Suite(
        "s", "1", sha256(b"s"), FORMS[kind].measure, Scorer(kind, **scorer), cases, 8, None, "public", "t", None
    )


def test_likelihoods_are_of_the_expected_text_per_token():
    model = Numbers(logLikelihoods=[-1.0, -4.0, -8.0], counts=[1, 4, 4])
    asked = numbered("perplexity", maximum=3.0)
    record = conduct_suite(model.ask, asked)
    assert [answer.passed for answer in record.answers] == [True, True, False]
    assert record.answers[2].scores == (-8.0, 4.0)
    order = [case.prompt for case in order_of(asked)]
    assert model.asked == [{"op": "score", "items": [{"prompt": p, "continuation": "good"} for p in order]}]
    for replies in ({"logLikelihoods": [-1.0], "counts": [1]}, {"logLikelihoods": [-1.0] * 3, "counts": [1, 1]}):
        with pytest.raises(ChildGone, match="the child answered"):
            conduct_suite(Numbers(**replies).ask, asked)


def test_labels_are_the_largest_logits():
    asked = numbered("label", labels=("bad", "good"))
    record = conduct_suite(Numbers(logits=[[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).ask, asked)
    assert [answer.passed for answer in record.answers] == [True, False, False]
    assert [answer.text for answer in record.answers] == ["good", "bad", "bad"]
    for logits in ([[0.0, 1.0]] * 2, [[0.0, 1.0, 2.0]] * 3, [[0.0]] * 3):
        with pytest.raises(ChildGone, match="the child answered"):
            conduct_suite(Numbers(logits=logits).ask, asked)


class Close(ToyModel):
    """Hesitates over the first choice of every item; asked precisely, it gives the last."""

    def _choices(self, question):
        scores = [-9.0, -9.0, -1.0] if question.get("precise") else [-1.0, -1.2, -9.0]
        return {"op": "choices", "logLikelihoods": [scores] * len(question["items"])}


def test_what_is_close_to_call_and_counts_for_the_adapter_is_asked_again_precisely():
    asked = suite(9, kind="choice")
    base = conduct_suite(ToyModel().ask, asked, close=0.5)
    assert not any(answer.precise for answer in base.answers), "nothing was close"
    model = Close()
    own = conduct_suite(model.ask, asked, base, close=0.5)
    assert [len(question["items"]) for question in model.asked] == [9, 3], (
        "its three passes, which noise may have given"
    )
    assert own.passes == 0
    its = conduct_suite(Close().ask, asked, close=0.5)
    assert (its.passes, sum(answer.precise for answer in its.answers)) == (6, 6), "the base's six failures"
    assert conduct_suite(Close().ask, asked).passes == 3, "in the reference dtype nothing is asked twice"


def test_an_answer_kept_when_it_counted_against_the_adapter_is_asked_again_when_an_edit_makes_it_count():
    asked, first = suite(9, kind="choice"), Memory()
    base = conduct_suite(ToyModel().ask, asked)
    conduct_suite(Close().ask, asked, base, first, close=0.5)
    assert sum(given.precise for given in first.fresh.values()) == 3
    edited = replace(asked, cases=tuple(replace(case, answer=0) for case in asked.cases))
    second, model = Memory(kept=first.fresh), Close()
    own = conduct_suite(model.ask, edited, base, second, close=0.5)
    assert [len(question["items"]) for question in model.asked] == [6], "the six that failed, and only precisely"
    assert own.passes == 0
    assert all(given.precise for given in second.fresh.values())
    third = Memory(kept={**first.fresh, **second.fresh})
    assert conduct_suite(nobody, edited, base, third, close=0.5) == own
    assert third.fresh == {}


class Torn(ToyModel):
    """Every text was close to call; float32 would have said something longer."""

    margin = 0.4

    def _generate(self, question):
        reply = super()._generate(question)
        if not question.get("precise"):
            return reply
        return {
            **reply,
            "texts": [f"{text} indeed" for text in reply["texts"]],
            "tokens": [[*answer, 77] for answer in reply["tokens"]],
        }


def test_a_text_is_asked_again_by_its_own_least_lead_and_shown_what_it_said():
    asked, model = suite(4), Torn()
    base = conduct_suite(ToyModel().ask, asked, close=0.5)
    own = conduct_suite(model.ask, asked, base, close=0.5)
    first, again = model.asked
    assert (first["margins"], "precise" in first, again["precise"]) == (True, False, True)
    given = [ToyModel.tokens(answer.text.removesuffix(" indeed")) for answer in own.answers]
    assert [draft["tokens"] for draft in again["drafts"]] == given
    assert (own.passes, all(answer.precise for answer in own.answers)) == (0, True)
    sure = Torn()
    sure.margin = 0.6
    assert conduct_suite(sure.ask, asked, base, close=0.5).passes == 4
    assert len(sure.asked) == 1


@pytest.mark.parametrize(
    ("kind", "certain", "again"), [("exact", 0, 2), ("exact", 3, 2), ("exact", 9, 0), ("exact", 6, 0), ("regex", 9, 4)]
)
def test_a_base_whose_certain_beginning_is_wrong_is_not_asked_what_follows(kind, certain, again):
    base, asked = ToyModel(wrong=["1", "3"]), suite(4, kind=kind)
    base.margin, base.certain = 0.4, certain  # of "something wrong"
    expected = {"c1": "some other answer", "c3": "som"}
    cases = [replace(case, expected=expected.get(case.id, case.expected)) for case in asked.cases]
    record = conduct_suite(base.ask, replace(asked, cases=tuple(cases)), close=0.5)
    assert [len(question["prompts"]) for question in base.asked[1:]] == ([again] if again else [])
    assert record.passes == (2 if kind == "exact" else 0)
    assert base.asked[0]["certainBy"] == 0.5
    adapter = ToyModel()
    conduct_suite(adapter.ask, asked, record, close=0.5)
    assert all("certainBy" not in question for question in adapter.asked), "an adapter's failures stand as they are"


def test_what_the_reference_says_is_scored_and_what_the_dtype_said_is_compared():
    asked = suite(4, kind="regex")
    base = conduct_suite(Torn().ask, asked, close=0.5)
    assert all(answer.precise for answer in base.answers), "none is a refusal, and all were close"
    model = ToyModel()
    own = conduct_suite(model.ask, asked, base, close=0.5)
    shown = [draft["tokens"] for draft in model.asked[0]["drafts"]]
    assert shown == [list(answer.tokens[:-1]) for answer in base.answers]
    drift = suite_drift(own, base)
    assert (drift.agreement, drift.kl_mean) == (1.0, 0.0)


def test_margins_are_over_what_could_have_won_instead():
    assert margin_of(Given("a", scores=(-1.0, -1.5, -3.0))) == 0.5
    assert margin_of(Given("a", scores=(-1.0,))) == math.inf
    assert margin_of(Given("no text")) == math.inf
    assert margin_of(Given("x", (7, 8, 9), margin=0.4)) == 0.4
    assert margin_of(Given("x", (7, 8, 9))) == 0.0, "kept when nobody asked for it"
