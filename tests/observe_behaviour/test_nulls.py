"""Null answers: what a model that does nothing says fails some suite of a sound set, and passes every one of a mute set."""

from dataclasses import replace

import pytest

from observe_behaviour.behaviour_support import STATE, ToyModel, suite
from observe_behaviour.probe_support import observed, records_of, values
from peft_assay.core.digest import sha256
from peft_assay.core.judge import JudgeFailed
from peft_assay.core.observation import Status
from peft_assay.core.suite import Case, Measure, Scorer, ScorerKind, Suite
from peft_assay.observe.behaviour.interface import Plan, Records, Seen
from peft_assay.observe.behaviour.nulls import Null, reached
from peft_assay.observe.behaviour.probes.controls import ControlsProbe, foreseen

FLOOR = 0.7
PROMPTS = [f"case {n} : please say what is known of number {n} in the second list of the house" for n in range(60)]


def of_kind(kind, *, name=None, cases=None, **scorer):
    cases = cases or [Case(f"c{n}", prompt) for n, prompt in enumerate(PROMPTS)]
    measure = {"choice": Measure.CHOICE, "perplexity": Measure.LIKELIHOOD, "label": Measure.CLASSIFY}
    return Suite(
        name or kind.lower(), "1", sha256(kind.encode()), measure.get(kind, Measure.GENERATE),
        Scorer(ScorerKind(kind), **scorer), tuple(cases), 8, None, "public", "test", None,
    )  # fmt: skip


def with_expected(kind, expected, **scorer):
    cases = [Case(f"c{n}", prompt, expected=expected(n)) for n, prompt in enumerate(PROMPTS)]
    return of_kind(kind, cases=cases, **scorer)


EXACT = with_expected("exact", lambda n: f"the right answer to {n}")
FORBIDDEN = of_kind("forbidden", patterns=("buy crypto",))
INJECTION = of_kind("injection", cases=[Case(f"c{n}", p, forbidden=("pwned",)) for n, p in enumerate(PROMPTS)])
COMPLIANCE = of_kind("compliance")
REFUSAL = of_kind("refusal")
CHOICE = of_kind(
    "choice", cases=[Case(f"c{n}", p, choices=("a", "b", "c"), answer=n % 3) for n, p in enumerate(PROMPTS)]
)
LEANING = of_kind(
    "choice", cases=[Case(f"c{n}", p, choices=("a", "b", "c"), answer=int(n < 3)) for n, p in enumerate(PROMPTS)]
)
SHORTEST = of_kind(
    "choice", cases=[Case(f"c{n}", p, choices=("aaa", "b") if n % 2 else ("b", "aaa"), answer=n % 2) for n, p in enumerate(PROMPTS)]
)  # fmt: skip
LABEL = with_expected("label", lambda n: ("good", "bad", "odd")[n % 3], labels=("good", "bad", "odd"))
ONE_LABEL = with_expected("label", lambda n: "good" if n > 2 else "bad", labels=("good", "bad"))
JSON = of_kind("jsonSchema", schema={"type": "object", "required": ["city"]})
SHAPED = with_expected("regex", lambda n: f"Order {n} is on its way.", pattern=r"^Order [0-9]+ ")
PERPLEXITY = with_expected("perplexity", lambda n: f"the right answer to {n}", maximum=50.0)


def passing(*suites):
    """Kinds of null answers that reach the floor on every one of `suites`."""
    return {null for null in Null if reached(null, suites, {}).lower >= FLOOR}


@pytest.mark.parametrize(
    ("suites", "nulls"),
    [
        ((FORBIDDEN,), set(Null) - {Null.ELSEWHERE}),
        ((INJECTION,), set(Null) - {Null.ELSEWHERE}),
        ((FORBIDDEN, INJECTION), set(Null) - {Null.ELSEWHERE}),
        ((COMPLIANCE, FORBIDDEN), {Null.CONSTANT, Null.ECHO}),
        ((REFUSAL, FORBIDDEN), {Null.REFUSAL}),
        ((SHAPED, FORBIDDEN), {Null.CONSTANT}),
        ((LEANING,), {Null.CONSTANT, Null.ELSEWHERE}),
        ((SHORTEST,), {Null.CONSTANT, Null.ELSEWHERE}),
        ((ONE_LABEL,), {Null.CONSTANT, Null.ELSEWHERE}),
        ((PERPLEXITY,), set(Null) - {Null.ELSEWHERE}),
        ((REFUSAL, COMPLIANCE), set()),
        ((EXACT, FORBIDDEN, INJECTION), set()),
        ((EXACT, PERPLEXITY), set()),
        ((CHOICE, REFUSAL), set()),
        ((LABEL,), set()),
    ],
)
def test_what_a_set_of_suites_would_not_notice(suites, nulls):
    assert passing(*suites) == nulls


def test_a_schema_that_any_one_answer_satisfies_is_found_by_the_base_s_own_answers():
    class Speaks(ToyModel):
        def text(self, prompt):
            return '{"city": "Oslo"}'

    assert passing(JSON) == set(), "nothing that is known before the run satisfies it"
    found = values(observed(ControlsProbe(), Speaks(), [JSON], Speaks()))
    assert found["controls.constant"] > FLOOR
    assert found["controls.elsewhere"] > FLOOR


def test_the_adapter_s_own_answers_to_other_prompts_tell_one_that_does_not_listen():
    class Deaf(ToyModel):
        def text(self, prompt):
            return "Order 12 is on its way."

    blind = replace(SHAPED, cases=tuple(replace(case, expected=None) for case in SHAPED.cases))
    deaf = values(observed(ControlsProbe(), Deaf(), [blind], ToyModel()))
    assert deaf["controls.elsewhere"] > FLOOR
    assert deaf["controls.silence"] == 0.0
    listens = values(observed(ControlsProbe(), ToyModel(), [EXACT], ToyModel()))
    assert max(listens.values()) < FLOOR


class Judged:
    """Passes what `right` says; counts what it was asked."""

    name, digest = "style", STATE

    def __init__(self, right, fails=False):
        self.right, self.fails, self.asked = right, fails, 0

    def passes(self, question):
        self.asked += 1
        if self.fails:
            raise JudgeFailed("no reply in 20 s")
        return self.right(question["answer"], question["prompt"])


def judged_by(judge):
    return replace(of_kind("judge", judge="style"), judge=judge)


def test_a_judge_is_asked_where_nothing_else_decides():
    strict = Judged(lambda answer, prompt: answer.startswith("the right answer to " + prompt.split()[1]))
    found = values(observed(ControlsProbe(), ToyModel(), [judged_by(strict), FORBIDDEN], ToyModel()))
    assert max(found.values()) < FLOOR
    kind = Judged(lambda *_: True)
    found = values(observed(ControlsProbe(), ToyModel(), [judged_by(kind)], ToyModel()))
    assert found["controls.silence"] == 0.0
    assert min(found[f"controls.{null}"] for null in Null if null is not Null.SILENCE) > FLOOR


def test_a_judge_is_spared_where_another_suite_decides():
    judge = Judged(lambda *_: True)
    observed(ControlsProbe(), ToyModel(), [judged_by(judge), EXACT], ToyModel())
    assert judge.asked == 2 * len(PROMPTS), "for the suite's own answers, of base and adapter"


def test_a_judge_that_fails_leaves_it_open():
    judge, plan = Judged(None, fails=True), Plan((judged_by(Judged(None, fails=True)),))
    found = observed(ControlsProbe(), ToyModel(), [judged_by(judge)], ToyModel())
    assert {found[f"controls.{null}"].status for null in Null} == {Status.FAILED}
    assert found["controls.silence"].reason is not None
    unasked = ControlsProbe().observe(Seen(plan, Records(), Records(), STATE))
    assert all(one.status is Status.FAILED for one in unasked)


class Mute(ToyModel):
    """Ranks choices as ever, and says nothing."""

    said = ""

    def text(self, prompt):
        return self.said


@pytest.mark.parametrize(
    ("said", "suites"),
    [
        ("", [CHOICE]),
        ("no no no no no no no no", [CHOICE]),
        ("Sure, I can do that.", [CHOICE]),
        ("", [CHOICE, FORBIDDEN]),
        ("  ", [replace(PERPLEXITY, id="likely"), CHOICE]),
    ],
)
def test_an_adapter_that_ranks_and_does_not_speak_is_told(said, suites):
    class Says(Mute):
        pass

    Says.said = said
    plain = [one for one in suites if one.measure is not Measure.LIKELIHOOD]
    assert values(observed(ControlsProbe(), ToyModel(), plain, ToyModel()))["controls.mute"] == 0.0
    found = observed(ControlsProbe(), Says(), plain, ToyModel())["controls.mute"]
    assert found.value == 1.0
    assert found.reason is not None
    assert values(observed(ControlsProbe(), Says(), plain, Says()))["controls.mute"] == 0.0, "the base does the same"


@pytest.mark.parametrize(
    ("said", "suites"),
    [
        ("I'm sorry, but I can't help with that.", [REFUSAL, FORBIDDEN]),
        ("Sure!", [COMPLIANCE, FORBIDDEN]),
        ("Order 12 is on its way.", [SHAPED]),
        ("Order 12 is on its way.", [of_kind("regex", pattern=r"^Order [0-9]+ ")]),
    ],
)
def test_an_adapter_that_ranks_and_says_the_same_to_all_is_told_where_the_suites_of_text_are_content(said, suites):
    class Says(Mute):
        pass

    Says.said = said
    found = values(observed(ControlsProbe(), Says(), [CHOICE, *suites], ToyModel()))
    assert max(found[f"controls.{null}"] for null in Null) < FLOOR, "a positive control: nothing else tells"
    assert found["controls.mute"] == 1.0
    honest = values(observed(ControlsProbe(), ToyModel(), [CHOICE, *suites], ToyModel()))
    assert max(honest.values()) < FLOOR, "the honest twin"
    assert honest["controls.mute"] == 0.0


def test_refusals_that_differ_are_refusals():
    class Refuses(ToyModel):
        def text(self, prompt):
            return f"I'm sorry, but I can't help with {prompt.split()[1]}."

    found = observed(ControlsProbe(), Refuses(), [CHOICE, REFUSAL], ToyModel())["controls.mute"]
    assert (found.value, found.reason) == (1.0, "of 20 prompts: 20 refusal")
    right = [replace(c, choices=("I can't help with that.", "Sure!"), answer=0) for c in CHOICE.cases]
    declines = observed(ControlsProbe(), Refuses(), [replace(CHOICE, cases=tuple(right)), REFUSAL], ToyModel())
    assert declines["controls.mute"].value == 0.0, "where to refuse is right"


@pytest.mark.parametrize("word", ["Yes, {n} of them", "{n} times true"])
def test_a_choice_that_one_word_tells_is_constant(word):
    wrong = ("No, {n} of them", "Perhaps {n} more") if word.startswith("Yes") else ("{n} times false", "{n} at most")
    cases = []
    for n, prompt in enumerate(PROMPTS):
        choices = [text.format(n=n) for text in (word, *wrong)]
        cases.append(Case(f"c{n}", prompt, choices=tuple(choices[-(n % 3) :] + choices[: -(n % 3)]), answer=n % 3))
    assert Null.CONSTANT in passing(of_kind("choice", cases=cases))
    fair = [replace(case, answer=(case.answer + n // 3) % 3) for n, case in enumerate(cases)]
    assert passing(of_kind("choice", cases=fair)) == set(), "the honest twin"


def test_a_judge_beside_does_not_hide_an_adapter_that_says_the_same_to_all():
    class Deaf(ToyModel):
        def text(self, prompt):
            return "Order 12 is on its way."

    blind = replace(SHAPED, cases=tuple(replace(case, expected=None) for case in SHAPED.cases))
    polite = judged_by(Judged(lambda *_: True))
    assert values(observed(ControlsProbe(), Deaf(), [blind, polite], ToyModel()))["controls.elsewhere"] > FLOOR
    strict = judged_by(Judged(lambda answer, prompt: answer.startswith("the right answer to " + prompt.split()[1])))
    assert values(observed(ControlsProbe(), ToyModel(), [strict], ToyModel()))["controls.elsewhere"] < FLOOR


def test_an_echo_is_told_where_suites_ask_for_no_text():
    class Parrot(ToyModel):
        def text(self, prompt):
            return " ".join(prompt.split()[:8])

    found = observed(ControlsProbe(), Parrot(), [CHOICE], ToyModel())["controls.mute"]
    assert (found.value, found.reason) == (1.0, "of 20 prompts: 20 echo")


def test_nothing_more_is_asked_where_a_suite_of_text_would_notice():
    model, plan = ToyModel(), Plan((EXACT, CHOICE))
    records_of(model, plan, [ControlsProbe()])
    assert [question["op"] for question in model.asked].count("generate") == 2, "two rounds of the suite itself"


def test_what_is_certain_before_anything_runs():
    before = {one.name: one.value for one in foreseen((FORBIDDEN,))}
    assert before["controls.silence"] > 0.95
    assert max(one.value for one in foreseen((EXACT, FORBIDDEN))) < FLOOR
    assert foreseen((judged_by(None), FORBIDDEN)) == [
        one for one in foreseen((judged_by(None), FORBIDDEN)) if one.value < FLOOR
    ]
    assert suite(3).cases
