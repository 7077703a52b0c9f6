"""What a child says against itself: each kind is noticed, honest rounding is not, and one of them voids everything."""

import math
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observe_behaviour.behaviour_support import STATE, ToyModel, ToySandbox, suite
from peft_assay.core.exercises import Exercises
from peft_assay.core.observation import Status
from peft_assay.observe.behaviour.contradictions import SLACK, Known, contradiction
from peft_assay.observe.behaviour.interface import Plan
from peft_assay.observe.behaviour.observe import Conditions, exercise, is_void, observations_of
from peft_assay.observe.behaviour.reference import observe_base
from peft_assay.observe.behaviour.strength import Strength

VOCABULARY = 50
KNOWN = Known(vocabulary=VOCABULARY)


def row(likely):
    """A distribution over the vocabulary: some tokens by probability, what is left over the others alike."""
    rest = (1 - sum(likely.values())) / (VOCABULARY - len(likely))
    return [likely.get(token, rest) for token in range(VOCABULARY)]


def position(likely, token, watch):
    row_ = row(likely)
    return {
        "chosen": math.log(row_[token]),
        "best": row_.index(max(row_)),
        "entropy": -sum(p * math.log(p) for p in row_),
        "ids": watch,
        "logProbabilities": [math.log(row_[at]) for at in watch],
    }


def trace(*positions):
    return {name: [one[name] for one in positions] for name in positions[0]}


DRAFT = [3, 4, 5]
WATCH = [[3, 9], [4, 9], [5, 9]]
LIKELY = ({3: 0.7, 9: 0.2}, {9: 0.6, 4: 0.3}, {5: 0.9, 9: 0.01})
QUESTION = {"op": "generate", "prompts": ["p"], "maxNewTokens": 8, "drafts": [{"tokens": DRAFT, "watch": WATCH}]}
"""The answer follows the draft's first token, and departs at the second."""


def honest(margin=0.5):
    seen = trace(*map(position, LIKELY, DRAFT, WATCH))
    return {"op": "generate", "texts": ["t"], "tokens": [[3, 9, 1]], "traces": [seen], "margins": [margin]}


def said(reply, question=QUESTION, known=KNOWN):
    return contradiction(question, reply, Known(vocabulary=known.vocabulary, half=known.half, drafts=known.drafts))


def changed(*path, to):
    reply = deepcopy(honest())
    at = reply
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = to
    return reply


def test_an_honest_answer_contradicts_nothing():
    assert said(honest()) is None


LIES = {
    "another token than the trace's likeliest": (changed("tokens", 0, to=[3, 4, 5]), "not the likeliest"),
    "a token that departs too early": (changed("tokens", 0, to=[9, 9]), "not the likeliest"),
    "stops in the middle": (changed("tokens", 0, to=[3]), "stops where its trace goes on"),
    "no token": (changed("tokens", 0, to=[]), "without any token"),
    "a token that the base does not have": (changed("tokens", 0, to=[3, 9, VOCABULARY]), "does not have"),
    "flattered likelihood": (changed("traces", 0, "chosen", 1, to=-0.01), "two probabilities for the same token"),
    "a likeliest that is not": (changed("traces", 0, "best", 0, to=9), "less likely than another"),
    "no entropy": (changed("traces", 0, "entropy", 1, to=0.0), "an entropy that"),
    "negative entropy": (changed("traces", 0, "entropy", 2, to=-1.0), "an entropy that"),
    "more entropy than the vocabulary": (changed("traces", 0, "entropy", 0, to=9.0), "an entropy that"),
    "a lead that its trace denies": (changed("margins", 0, to=3.0), "leads by more"),
    "more than one in all": (
        changed("traces", 0, "logProbabilities", 0, to=[math.log(0.7), math.log(0.6)]),
        "add up to more than 1",
    ),
}


@pytest.mark.parametrize("lie", sorted(LIES))
def test_each_lie_is_noticed(lie):
    reply, why = LIES[lie]
    assert why in said(reply)


def test_a_likeliest_token_that_no_number_leaves_room_for():
    reply = honest()
    reply["traces"][0]["best"][1] = 7
    reply["tokens"] = [[3, 7, 1]]
    assert "less likely than another" in said(reply)


def test_the_same_tokens_are_the_same_text():
    known = Known(vocabulary=VOCABULARY)
    assert contradiction(QUESTION, honest(), known) is None
    assert contradiction(QUESTION, {**honest(), "texts": ["u"]}, known) == "two texts for the same tokens"


def test_an_activated_lora_answers_without_the_draft():
    """Its draft is seen in another pass than its answer, so the one says nothing of the other."""
    reply = changed("tokens", 0, to=[3, 4, 5])
    assert said(reply, known=Known(vocabulary=VOCABULARY, drafts=False)) is None


def test_what_is_drawn_is_not_greedy():
    question = {**QUESTION, "sampling": {"temperature": 1.0, "seed": 1}}
    assert said(changed("tokens", 0, to=[3, 4, 5]), question) is None


@given(st.lists(st.floats(0.01, 10.0), min_size=VOCABULARY, max_size=VOCABULARY), st.integers(0, VOCABULARY - 1))
def test_no_distribution_contradicts_itself(weights, token):
    """Also after its numbers were rounded as float32 rounds them."""
    numbers = [w / sum(weights) for w in weights]
    watch = sorted(range(VOCABULARY), key=lambda at: -numbers[at])[:8]
    seen = {
        "chosen": [math.log(numbers[token]) + SLACK / 10],
        "best": [watch[0]],
        "entropy": [-sum(p * math.log(p) for p in numbers)],
        "ids": [watch],
        "logProbabilities": [[math.log(numbers[at]) - SLACK / 10 for at in watch]],
    }
    question = {"op": "trace", "items": [{"prompt": "p", "continuation": [token], "watch": [watch]}]}
    assert contradiction(question, {"op": "trace", "traces": [seen]}, KNOWN) is None


CHOICES = {"op": "choices", "items": [{"prompt": "p", "choices": ["a", "b", "a b"]}]}


def test_choices_add_up_to_no_more_than_one():
    def likely(*scores):
        return said({"op": "choices", "logLikelihoods": [list(scores)]}, CHOICES)

    assert likely(-0.7, -0.7, -0.01) is None, "'a' begins 'a b': they are not apart"
    apart = {"op": "choices", "items": [{"prompt": "p", "choices": ["a", "b", "c"]}]}
    assert said({"op": "choices", "logLikelihoods": [[-0.1, -0.1, -9.0]]}, apart) is not None
    assert said({"op": "choices", "logLikelihoods": [[-1.1, -1.1, -1.1]]}, apart) is None
    half = Known(half=True)
    assert contradiction(apart, {"op": "choices", "logLikelihoods": [[-0.9, -0.9, -0.9]]}, half) is None


def test_a_score_is_of_the_tokens_that_were_asked_about():
    question = {"op": "score", "items": [{"prompt": "p", "continuation": [1, 2]}, {"prompt": "p", "continuation": "x"}]}
    assert said({"op": "score", "logLikelihoods": [-1.0, -1.0], "counts": [2, 7]}, question) is None
    assert said({"op": "score", "logLikelihoods": [-1.0, -1.0], "counts": [1, 7]}, question) is not None
    assert said({"op": "score", "logLikelihoods": [0.9, -1.0], "counts": [2, 7]}, question) is not None


@pytest.mark.parametrize(("own", "said_", "lies"), [(14, 14, False), (14, 0, True), (0, 3, True), (None, 0, False)])
def test_the_number_of_modules_is_the_files_own(own, said_, lies):
    known = Known(strength=Strength(own, "LORA"))
    found = contradiction({"op": "scale", "factor": 1.5}, {"op": "scale", "modules": said_}, known)
    assert (found is not None) == lies


class Flattering(ToyModel):
    """Its trace finds the base's answer likely wherever it answered something else."""

    def _generate(self, question):
        reply = super()._generate(question)
        for draft, trace in zip(question.get("drafts", ()), reply.get("traces", ()), strict=False):
            trace["best"] = list(draft["tokens"])
        return reply


def test_one_contradiction_voids_all_behaviour_and_is_named():
    plan = Plan((suite(20),), Exercises())
    base = observe_base(ToySandbox(ToyModel()), plan)
    found = exercise(ToySandbox(Flattering(wrong={"3"})), {"a": b""}, plan, base)
    seen = {o.name: o for o in observations_of(found, plan, Conditions(20, STATE, None, base))}
    assert is_void(found)
    (named,) = seen["answers.contradictions"].value
    assert seen["suite.task.lower"].status is Status.FAILED
    assert seen["suite.task.lower"].reason == f"void: it contradicts itself: {named}"
