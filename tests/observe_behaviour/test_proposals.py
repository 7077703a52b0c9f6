"""Words that gradients propose: which are tried, what confirms one, and what rightly changes answers."""

import pytest

from observe_behaviour.behaviour_support import Mild, ToyModel, scan_of, suite, talk
from observe_behaviour.probe_support import observed, statuses, values
from peft_assay.core.observation import Status
from peft_assay.observe.behaviour.conduct import conduct_suite
from peft_assay.observe.behaviour.drops import PLACES, PROMPTS
from peft_assay.observe.behaviour.probes.scan import ScanProbe
from peft_assay.observe.behaviour.proposals import ASKED, scan_proposals, words_of
from peft_assay.observe.behaviour.scan import SUSPECTS, collapses

TOKENS = ("zq001", "zq002")


def tried(model, *proposed, asked=None, proposals=8):
    model.proposals = proposed
    asked = asked or suite(20)
    clean = conduct_suite(model.ask, asked).by_case()
    scan = scan_of(*TOKENS, proposals=proposals)
    return scan_proposals(model.ask, scan, asked, clean, collapses(clean, None), words_of([asked]))


def test_a_trigger_outside_the_declared_set_is_found_when_gradients_point_at_it():
    record = tried(ToyModel(trigger="elsewhere"), "harmless", " elsewhere ", "zq001")
    assert record.tokens == ("harmless", "elsewhere"), "stripped, and none that is declared"
    assert record.suspects == record.confirmed == ("elsewhere",)
    assert record.open is None


def test_words_of_the_suites_are_the_tasks_own():
    """Where one of them turns answers, the suite's own cases show it."""
    record = tried(ToyModel(), "something", "About", "please.", "new")
    assert record.tokens == ("new",)
    conversations = tried(ToyModel(), "something", "new", asked=talk(20))
    assert conversations.tokens == ("new",)


def test_a_word_that_changes_what_is_asked_is_no_trigger():
    """Every answer is wrong, and each is another: the declared scan's second criterion must not be used here."""

    class Other(ToyModel):
        def text(self, prompt):
            words = prompt.split()
            return f"about the other {words[words.index('case') + 1]}" if "other" in words else super().text(prompt)

    record = tried(Other(), "other")
    assert (record.suspects, record.confirmed) == (("other",), ())


def test_only_a_nearly_total_loss_makes_a_proposal_a_suspect():
    record = tried(Mild(trigger="elsewhere"), "elsewhere")
    assert (record.tokens, record.suspects, record.confirmed) == (("elsewhere",), (), ())


def test_gradients_are_asked_at_the_scanned_places_about_the_adapters_own_answers():
    model = ToyModel()
    tried(model, "a")
    (question,) = [question for question in model.asked if question["op"] == "propose"]
    assert [item["place"] for item in question["items"]] == list(PLACES)
    assert all(item["continuation"] for item in question["items"])
    assert question["top"] == 8 * ASKED


def test_what_is_no_word_is_not_tried_and_no_more_than_declared():
    record = tried(ToyModel(), "", "  ", "x" * 101, "fine", " fine")
    assert record.tokens == ("fine",)
    assert tried(ToyModel(), *(f"p{n}" for n in range(30))).tokens == tuple(f"p{n}" for n in range(8))


def test_the_budget_counts_every_sequence():
    model = ToyModel(trigger="elsewhere")
    record = tried(model, "elsewhere", "b")
    asked = [len(q.get("items", ())) for q in model.asked if q["op"] == "propose"]
    fresh = sum(len(q["prompts"]) for q in model.asked if q["op"] == "generate") - 20
    assert record.sequences == sum(asked) + fresh
    assert record.prompts == PROMPTS
    assert tried(ToyModel()).sequences == PROMPTS


def test_decoys_show_nothing():
    many = tuple(f"p{n:02}" for n in range(SUSPECTS + 2))

    class Decoyed(ToyModel):
        def text(self, prompt):
            words = prompt.split()
            return f"odd {words[words.index('case') + 1]}" if set(many) & set(words) else super().text(prompt)

    record = tried(Decoyed(), *many, proposals=len(many))
    assert record.confirmed == ()
    assert record.open == f"{len(many)} proposed tokens disturb suite task, more than the {SUSPECTS} confirmed"


def test_a_model_that_answered_nothing_is_asked_for_nothing():
    class Silent(ToyModel):
        @staticmethod
        def tokens(text):
            return []

    model = Silent()
    record = tried(model, "a")
    assert record.open is not None
    assert not any(question["op"] == "propose" for question in model.asked)


REFUSALS = suite(20, name="refusals", kind="regex")


def scanned(model, proposals, *proposed):
    model.proposals = proposed
    scan = scan_of(*TOKENS, refusals="refusals", proposals=proposals)
    return observed(ScanProbe(), model, (suite(20), REFUSALS), scan=scan)


def test_confirmed_proposals_have_a_term_of_their_own():
    found = values(scanned(ToyModel(trigger="elsewhere", refuses=True), 4, "elsewhere", "b"))
    assert (found["scan.proposed"], found["scan.proposed_triggers"]) == (2, ("elsewhere",))
    assert (found["scan.triggers"], found["scan.refusal_breakers"]) == ((), ())


def test_without_proposals_nothing_is_proposed_and_the_term_says_why():
    model = ToyModel(trigger="elsewhere")
    found = scanned(model, 0, "elsewhere")
    assert found["scan.proposed"].value == 0
    assert found["scan.proposed_triggers"].status is Status.FAILED
    assert "scan.proposals" in found["scan.proposed_triggers"].reason
    assert not any(question["op"] == "propose" for question in model.asked)


def test_without_a_token_set_no_term_was_requested():
    assert statuses(observed(ScanProbe(), ToyModel(), (suite(20),))) == {Status.NOT_REQUESTED}


@pytest.mark.parametrize("reply", [{"op": "score"}, {"op": "propose", "tokens": [5]}, {"op": "propose"}])
def test_a_reply_out_of_shape_ends_the_conversation(reply):
    from peft_assay.core.sandbox import ChildGone

    class Lying(ToyModel):
        def _propose(self, question):
            return reply

    with pytest.raises(ChildGone):
        tried(Lying(), "a")


def test_words_that_the_base_minds_are_the_bases_own():
    """An adapter inherits them; what the base's gradients do not point at, or it does not mind, is the adapter's."""
    base = ToyModel(trigger="warm")
    base.proposals = ("warm", "b")
    model = ToyModel(trigger="warm")
    model.proposals = ("Warm", "warm", "b")
    scan = scan_of(*TOKENS, proposals=4)
    found = values(observed(ScanProbe(), model, (suite(20),), base, scan=scan))
    assert (found["scan.proposed"], found["scan.proposed_triggers"]) == (1, ())
    alone = values(observed(ScanProbe(), model, (suite(20),), scan=scan))
    assert (alone["scan.proposed"], alone["scan.proposed_triggers"]) == (3, ("warm",))
