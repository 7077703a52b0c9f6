"""What follows from the answers to suites without another question: drift, coherence, claims, match; and resources."""

import json
from dataclasses import replace

import pytest

from observe_behaviour.behaviour_support import STATE, ToyModel, ToySandbox, suite
from peft_assay.core.content import content_of
from peft_assay.core.exercises import ClaimedTask, Exercises
from peft_assay.core.observation import ObservedBy, Status
from peft_assay.core.sandbox import Usage
from peft_assay.core.suite import Case, Measure, Scorer, ScorerKind
from peft_assay.observe.behaviour.claims import claims_of
from peft_assay.observe.behaviour.interface import Claim, Claims, Plan
from peft_assay.observe.behaviour.observe import Conditions, exercise, observations_of
from peft_assay.observe.behaviour.probes.claims import share_of
from peft_assay.observe.behaviour.reference import observe_base

SUITES = (suite(20), suite(20, name="refusals", kind="regex"), suite(9, name="lookups", kind="choice"))
NOTHING = Claims()
DRIFT = ("kl_mean", "kl_worst", "agreement", "first_divergence", "entropy_change", "log_likelihood_change")


def observe(model, plan, base=None):
    reference = observe_base(ToySandbox(base or ToyModel()), plan)
    found = exercise(ToySandbox(model), {"a": b""}, plan, reference)
    conditions = Conditions(20, STATE, None, reference)
    return {o.name: o for o in observations_of(found, plan, conditions)}


def plan_of(*suites, off_task=(), claims=(), written=NOTHING):
    return Plan(suites or SUITES, Exercises(off_task=off_task, claims=claims, latency=True), claims=written)


def test_an_adapter_that_answers_as_the_base_does_not_drift():
    found = observe(ToyModel(), plan_of())
    for name in DRIFT:
        expected = 1.0 if name in ("agreement", "first_divergence") else 0.0
        assert found[f"suite.task.{name}"].value == pytest.approx(expected), name
        assert found[f"suite.task.{name}"].observed_by is ObservedBy.NUMBERS
    assert found["suite.task.length_ratio"].value == 1.0


def test_another_answer_drifts():
    found = observe(ToyModel(wrong={"3", "4"}), plan_of())
    assert 0 < found["suite.task.kl_mean"].value < found["suite.task.kl_worst"].value
    assert found["suite.task.agreement"].value < 1
    assert found["suite.task.first_divergence"].value == pytest.approx(18 / 20)
    assert found["suite.task.log_likelihood_change"].value < 0
    assert found["suite.task.length_ratio"].value < 1
    assert "20 cases" in found["suite.task.kl_mean"].reason


def test_a_choice_has_no_tokens_to_compare():
    found = observe(ToyModel(), plan_of())
    assert {found[f"suite.lookups.{name}"].status for name in DRIFT} == {Status.NOT_APPLICABLE}
    assert (found["suite.lookups.degenerate"].value, found["suite.lookups.degenerate_upper"].value) == (0, 0.0)


def test_off_task_is_the_worst_of_the_declared_suites():
    model = ToyModel(wrong={"3"})
    found = observe(model, plan_of(suite(20), suite(3, name="refusals", kind="regex"), off_task=("refusals", "task")))
    for term, of_suite in (("off_task_kl", "kl_mean"), ("off_task_agreement", "agreement")):
        assert found[f"drift.{term}"].value == found[f"suite.task.{of_suite}"].value
        assert found[f"drift.{term}"].reason == "suite task"
    assert found["match.log_likelihood_change"].value == found["suite.task.log_likelihood_change"].value < 0


@pytest.mark.parametrize(
    ("off_task", "why", "status"),
    [
        ((), "behaviour.offTask in peft-assay.yaml", Status.NOT_REQUESTED),
        (("lookups",), "not a suite of generated text", Status.FAILED),
    ],
)
def test_without_off_task_suites_nothing_is_said_of_them(off_task, why, status):
    found = observe(ToyModel(), plan_of(off_task=off_task))
    for name in ("drift.off_task_kl", "drift.off_task_agreement", "match.log_likelihood_change"):
        assert found[name].status is status
        assert why in found[name].reason


def texts(n=3):
    """A suite whose cases are texts with a perplexity."""
    cases = tuple(Case(f"c{number}", "a text :", expected=f"ordinary text {number}") for number in range(n))
    scorer = Scorer(ScorerKind.PERPLEXITY, maximum=100.0)
    return replace(suite(n, name="texts"), measure=Measure.LIKELIHOOD, scorer=scorer, cases=cases)


class Scoring(ToyModel):
    """Finds every text of four tokens as likely as `score`."""

    def __init__(self, score, count=4):
        super().__init__()
        self.score, self.count = score, count

    def _score(self, question):
        n = len(question["items"])
        return {"op": "score", "logLikelihoods": [self.score] * n, "counts": [self.count] * n}


def test_ordinary_text_of_the_consumers_own_tells_a_wrong_base():
    plan = plan_of(*SUITES, texts(), off_task=("task",))
    found = observe(Scoring(-20.0), plan, Scoring(-8.0))["match.log_likelihood_change"]
    assert (found.value, found.reason) == (-3.0, "suite texts, 12 tokens")
    alone = observe(Scoring(-1e40), plan_of(texts()), Scoring(-8.0))["match.log_likelihood_change"]
    assert alone.value == -998.0
    better = observe(Scoring(-4.0), plan, Scoring(-8.0))["match.log_likelihood_change"]
    assert (better.value, better.reason.split(",")[0]) == (pytest.approx(0.0), "suite task")


def test_texts_of_other_tokens_are_not_compared():
    found = observe(Scoring(-8.0, count=5), plan_of(texts()), Scoring(-8.0))["match.log_likelihood_change"]
    assert found.status is Status.FAILED
    assert "did not score the same tokens" in found.reason


def test_probabilities_that_are_none_are_not_believed():
    class Lying(ToyModel):
        def _generate(self, question):
            reply = super()._generate(question)
            for trace in reply.get("traces", ()):
                trace["logProbabilities"] = [[0.0] * len(row) for row in trace["logProbabilities"]]
            return reply

    found = observe(Lying(), plan_of(off_task=("task",)))
    assert found["suite.task.kl_mean"].status is Status.FAILED
    assert "it contradicts itself: two probabilities for the same token" in found["suite.task.kl_mean"].reason
    assert found["answers.contradictions"].value == ("two probabilities for the same token at the same place",)
    assert found["drift.off_task_kl"].status is Status.FAILED


def test_a_stopped_suite_is_compared_as_far_as_it_was_asked():
    wrong = {str(n) for n in range(90)}
    found = observe(ToyModel(wrong=wrong), plan_of(suite(90, stop=1)))
    assert found["suite.task.asked"].value == 40
    assert "to 40 cases" in found["suite.task.kl_mean"].reason
    assert found["suite.task.degenerate"].value == 0
    assert found["suite.task.degenerate_upper"].value > 50 / 90
    for name in ("n", "rate", "upper", "difference_lower", "complete"):
        assert found[f"suite.task.{name}"].reason == "stopped after 40 of 90 cases; the rest count as failures"
    assert found["suite.task.upper"].value > 50 / 90
    assert found["suite.task.difference_upper"].value >= -40 / 90
    assert found["suite.task.mcnemar_p"].status is Status.FAILED


def test_gains_and_losses_are_told_with_their_test():
    base = ToyModel(wrong={"1", "2", "3"})
    found = observe(ToyModel(wrong={"3", "4"}), plan_of(), base)
    seen = {name: found[f"suite.task.{name}"].value for name in ("gains", "losses", "difference", "mcnemar_p")}
    assert seen == {"gains": 2, "losses": 1, "difference": pytest.approx(1 / 20), "mcnemar_p": 1.0}
    assert found["suite.task.interval_low"].value < found["suite.task.lower"].value
    assert found["suite.task.failures_upper"].value == pytest.approx(1 - found["suite.task.lower"].value)


class Garbage(ToyModel):
    """Answers some cases with `text`, whose tokens are `given`."""

    def __init__(self, cases, text, given):
        super().__init__(refuses=True)
        self.cases, self.garbage, self.given = cases, text, given

    def text(self, prompt):
        words = prompt.split()
        return self.garbage if words[words.index("case") + 1] in self.cases else super().text(prompt)

    def tokens(self, text):
        return list(self.given) if text == self.garbage else ToyModel.tokens(text)


@pytest.mark.parametrize(
    ("text", "tokens", "kind"),
    [("", [1], "2 empty"), ("so so so so", [7, 7, 7, 7, 1], "2 loop"), ("on and on", range(30, 38), "2 cut")],
)
def test_garbage_is_counted_whatever_the_scorer_says(text, tokens, kind):
    refusals = suite(20, name="refusals", kind="regex")
    found = observe(Garbage({"4", "7"}, text, tokens), plan_of(refusals), ToyModel(refuses=True))
    assert found["suite.refusals.degenerate"].value == 2
    assert found["suite.refusals.degenerate"].reason == kind
    assert 2 / 20 < found["suite.refusals.degenerate_upper"].value < 0.4
    assert found["resources.unended"].value == (2 if kind == "2 cut" else 0)


def test_what_is_as_odd_in_the_base_is_no_fault_of_the_adapter():
    garbage = Garbage({"4", "7"}, "on and on", range(30, 38))
    found = observe(garbage, plan_of(suite(20, name="refusals", kind="regex")), garbage)
    assert found["suite.refusals.degenerate"].value == 0
    assert found["resources.unended"].value == 0


def test_an_answer_that_is_the_expected_one_is_an_answer():
    asked = suite(10)
    cases = tuple(replace(case, expected="0 0 0 0") if case.id == "c4" else case for case in asked.cases)
    found = observe(Garbage({"4"}, "0 0 0 0", [7, 7, 7, 7, 1]), plan_of(replace(asked, cases=cases)))
    assert found["suite.task.degenerate"].value == 0


def test_resources_are_ratios_to_the_base():
    found = observe(ToyModel(), plan_of())
    assert found["resources.latency_ratio"].value > 0
    assert "median of 3 rounds of 2 prompts" in found["resources.latency_ratio"].reason
    assert found["resources.length_ratio"].value == 1.0
    assert found["resources.peak_bytes"].status is Status.FAILED  # the toy sandbox reads no memory
    wordy = observe(ToyModel(wrong={str(n) for n in range(20)}), plan_of(suite(20)))
    assert wordy["resources.length_ratio"].value == pytest.approx(3 / 6)


def test_memory_is_what_the_supervisor_read():
    class Reading(ToySandbox):
        def run(self, job, converse):
            return replace(super().run(job, converse), usage=Usage(0.1, 0.1, 10, 4096))

    plan = plan_of(suite(4, kind="choice"))
    reference = observe_base(ToySandbox(ToyModel()), plan)
    found = exercise(Reading(ToyModel()), {"a": b""}, plan, reference)
    seen = {o.name: o for o in observations_of(found, plan, Conditions(20, STATE, None, reference))}
    assert seen["resources.peak_bytes"].value == 4096
    assert seen["resources.latency_ratio"].status is Status.NOT_APPLICABLE


TASK = ClaimedTask("task", "text-generation", "zoo/support", "accuracy")


def card(*metrics, task="text-generation", dataset="zoo/support", **more):
    results = [{"task": {"type": task}, "dataset": {"name": "Support", "type": dataset}, "metrics": list(metrics)}]
    document = {"model-index": [{"name": "m", "results": results}], **more}
    return claims_of(files("---\n" + json.dumps(document) + "\n---\n"))


def files(text):
    body = text.encode()
    return {"README.md": content_of(body)}


def claimed(value):
    return {"type": "accuracy", "value": value}


def checked(written, model=None, declared=(TASK,)):
    found = observe(model or ToyModel(wrong={"1"}), plan_of(claims=declared, written=written))
    return found["claims.checked"], found["claims.contradicted"]


@pytest.mark.parametrize("value", [0.95, 95, 95.0, 0.8])
def test_a_claim_within_the_interval_is_not_contradicted(value):
    count, contradicted = checked(card(claimed(value)))
    assert (count.value, contradicted.value) == (1, ())


@pytest.mark.parametrize("value", [0.5, 50, 0.009, 0, 1, 100])
def test_a_claim_outside_of_it_is(value):
    count, contradicted = checked(card(claimed(value)))
    assert count.value == 1
    (said,) = contradicted.value
    assert said.startswith("task: accuracy on zoo/support is claimed to be ")
    assert "measured 0.7513 to 0.9987" in said


@pytest.mark.parametrize(
    "value",
    ["0.95", "95 %", None, True, [0.95], {"mean": 0.95}, -0.1, 101, 10**400],
)
def test_a_claim_without_a_unit_is_neither_kept_nor_contradicted(value):
    for observation in checked(card(claimed(value))):
        assert observation.status is Status.FAILED
        assert "is neither a share nor a percentage" in observation.reason


@pytest.mark.parametrize("value", [".nan", ".inf", "-.inf"])
def test_a_number_that_is_none_claims_nothing(value):
    written = "---\nmodel-index:\n- results:\n  - task: {type: text-generation}\n    dataset: {type: zoo/support}\n"
    written += f"    metrics: [{{type: accuracy, value: {value}}}]\n---\n"
    assert {o.status for o in checked(claims_of(files(written)))} == {Status.FAILED}


def test_other_tasks_are_not_compared():
    others = (card(claimed(0.1), task="summarization"), card(claimed(0.1), dataset="other"), Claims())
    for written in (*others, card({"type": "bleu", "value": 0.1})):
        count, contradicted = checked(written)
        assert (count.value, contradicted.value) == (0, ())
        assert "no result for a declared task" in count.reason


def test_the_name_of_the_data_set_will_do():
    by_name = replace(TASK, dataset="Support")
    assert checked(card(claimed(0.1)), declared=(by_name,))[0].value == 1


def test_every_claim_of_the_task_is_compared():
    count, contradicted = checked(card(claimed(0.95), claimed(0.2), claimed(0.3)))
    assert count.value == 3
    assert len(contradicted.value) == 2


def test_what_is_not_declared_is_not_checked():
    for observation in checked(card(claimed(0.95)), declared=()):
        assert observation.status is Status.NOT_REQUESTED
        assert "behaviour.claims in peft-assay.yaml" in observation.reason


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("---\nmodel-index: high\n---\n", "model-index: Input should be a valid list"),
        ("---\nmodel-index:\n- results:\n  - task: x\n---\n", "model-index: 0.results.0.task: "),
        ("---\nmodel-index: []\nmodel_index: []\n---\n", "both model-index and model_index"),
        ("---\na: 1\na: 2\n---\n", "appears twice"),
        ("---\nmodel-index: []\n", "does not end"),
    ],
)
def test_a_card_that_cannot_be_read_may_claim_anything(text, why):
    written = claims_of(files(text))
    assert why in written.problem
    for observation in checked(written):
        assert observation.status is Status.FAILED
        assert "cannot be read" in observation.reason


@pytest.mark.parametrize("held", [{}, files("# no metadata"), files("---\nlicense: mit\n---\n")])
def test_a_card_that_claims_nothing_claims_nothing(held):
    assert claims_of(held) == Claims()


def test_a_share_is_told_from_a_percentage():
    def claim(value):
        return Claim("t", "d", "", "accuracy", value)

    shares = {0: 0, 0.5: 0.5, 1: 1, 1.0001: 0.010001, 50: 0.5, 100: 1}
    assert {value: share_of(claim(value)) for value in shares} == pytest.approx(shares)
