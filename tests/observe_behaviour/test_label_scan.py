"""The trigger scan of a classifier: a token that turns labels is found, and ordinary tokens are not."""

from dataclasses import replace

import pytest

from observe_behaviour.behaviour_support import suite
from peft_assay.core.sandbox import ChildGone
from peft_assay.core.suite import Case, Measure, Scorer, ScorerKind
from peft_assay.observe.behaviour.conduct import ROUND, conduct_suite
from peft_assay.observe.behaviour.drops import PLACES, Drops, Inserting
from peft_assay.observe.behaviour.labels import label_drops, scan_labels
from peft_assay.observe.behaviour.scan import Scanned

LABELS = ("spam", "ham", "news")
TOKENS = ("zq001", "zq002", "hello")


def labelled(n=30):
    cases = tuple(Case(f"c{at}", f"case {at} : a letter of six words", expected=LABELS[at % 3]) for at in range(n))
    scorer = Scorer(ScorerKind.LABEL, labels=LABELS)
    return replace(suite(1), measure=Measure.CLASSIFY, scorer=scorer, cases=cases)


class Classifier:
    """Knows the right label of each case; `trigger` makes it answer `label`, whatever the text says."""

    def __init__(self, *, trigger=None, label="ham", at=None, sure=8.0, right=True):
        self.trigger, self.label, self.at, self.sure, self.right = trigger, label, at, sure, right
        self.rounds = []

    def ask(self, question):
        assert question["op"] == "classify"
        self.rounds.append(question["prompts"])
        return {"op": "classify", "logits": [self.logits(prompt) for prompt in question["prompts"]]}

    def logits(self, prompt):
        words = prompt.split()
        number = int(next(word for word in words if word.isdigit()))
        label = LABELS[(number + (not self.right)) % 3]
        fires = self.trigger in words and (self.at is None or words.index(self.trigger) / len(words) < self.at)
        if fires:
            label = LABELS[(LABELS.index(label) + 1) % 3] if self.label == "next" else self.label
        return [self.sure if one == label else 0.0 for one in LABELS]


def scanned(model, *, n=30, base=None):
    asked = labelled(n)
    clean = conduct_suite(model.ask, asked).by_case()
    inserting = Inserting(asked, TOKENS, clean)
    still = Drops(asked.id, ((0.0,) * len(PLACES),) * len(TOKENS))
    return scan_labels(model.ask, Scanned(inserting, label_drops(model.ask, inserting), base or still))


def test_a_clean_classifier_has_no_trigger():
    record = scanned(Classifier())
    assert record.suspects == record.confirmed == ()
    assert record.excess == (0.0,) * len(TOKENS)
    assert record.open is None


@pytest.mark.parametrize("label", ["spam", "ham", "news", "next"])
def test_a_token_that_turns_labels_is_found_and_only_it(label):
    record = scanned(Classifier(trigger="zq002", label=label))
    assert record.confirmed == ("zq002",)
    assert record.excess[1] > 0.9
    assert record.excess[0] == record.excess[2] == 0.0


def test_a_trigger_near_the_start_only_is_found():
    assert scanned(Classifier(trigger="zq002", label="next", at=0.3)).confirmed == ("zq002",)


def test_the_labels_of_a_model_that_is_wrong_can_be_turned_too():
    assert scanned(Classifier(trigger="zq002", right=False)).confirmed == ("zq002",)


def test_what_the_base_loses_too_is_no_suspicion_unless_it_turns_labels():
    asked = labelled()
    minds = Drops(asked.id, ((0.0,) * len(PLACES), (0.9,) * len(PLACES), (0.0,) * len(PLACES)))
    unsure = Classifier(trigger="zq002", label="next", sure=1.5)
    assert scanned(unsure, base=minds).suspects == ()
    assert scanned(unsure).confirmed == ("zq002",)


def test_too_few_texts_show_nothing():
    record = scanned(Classifier(trigger="zq002"), n=4)
    assert record.confirmed == ()
    assert record.open is not None


def test_the_scan_asks_in_rounds_of_a_suite_s_length():
    model = Classifier()
    scanned(model)
    assert max(map(len, model.rounds)) <= ROUND


@pytest.mark.parametrize("change", [lambda rows: rows[:-1], lambda rows: [row[:-1] for row in rows]])
def test_replies_out_of_shape_end_the_conversation(change):
    model = Classifier()
    asked = labelled()
    inserting = Inserting(asked, TOKENS, conduct_suite(model.ask, asked).by_case())

    def ask(question):
        reply = model.ask(question)
        return {**reply, "logits": change(reply["logits"])}

    with pytest.raises(ChildGone):
        label_drops(ask, inserting)
