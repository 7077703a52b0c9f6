"""How long the prompts and answers were that were exercised: measured by the base, never beyond what was asked."""

import pytest

from observe_behaviour.behaviour_support import suite
from peft_assay.core.digest import sha256
from peft_assay.core.observation import Status
from peft_assay.observe.behaviour.answers import Answer, Path, SuiteRecord
from peft_assay.observe.behaviour.interface import Plan, Records, Seen
from peft_assay.observe.behaviour.lengths import LengthsRecord
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.probes.tested import TestedProbe

TEXT, CHOICE = suite(3, name="text"), suite(3, name="lookups", kind="choice")
SHOWN = Path((), (), (), (), ())


def answers(of, *lengths, complete=True, path=None):
    given = tuple(Answer("a", tuple(range(n)), (), path, case=c.id) for c, n in zip(of.cases, lengths, strict=False))
    return SuiteRecord(of.id, given, complete)


def longest(own, base, suites=(TEXT, CHOICE), prompts=None):
    mine, its = Records(), Records()
    if own is not None:
        mine.keep(SuitesRecord({record.suite: record for record in own}))
    its.keep(SuitesRecord({record.suite: record for record in base}))
    its.keep(LengthsRecord(prompts or {"text": (4, 9), "lookups": (5, 30)}))
    return {
        o.name.removesuffix("_tokens"): o for o in TestedProbe().observe(Seen(Plan(suites), mine, its, sha256(b"")))
    }


@pytest.mark.parametrize(
    ("own", "base", "prompt", "answer"),
    [
        ([answers(TEXT, 2, 3, 2), answers(CHOICE, 0, 0, 0)], (1, 1, 1), 30, 3),
        ([answers(TEXT, 2, 3, 2, path=SHOWN), answers(CHOICE, 0, 0, 0)], (1, 5, 1), 30, 5),
        ([answers(TEXT, 2, 3, 2), answers(CHOICE, 0, 0, 0)], (1, 5, 1), 30, 3),  # not shown: it says nothing
        ([answers(TEXT, 2, 3, 2), answers(CHOICE, 0, complete=False)], (1, 1, 1), 9, 3),
        ([answers(TEXT, 2, complete=False), answers(CHOICE, complete=False)], (1, 1, 1), 4, 2),
        ([answers(TEXT, 10_000), answers(CHOICE, 0, 0, 0)], (1, 1, 1), 30, TEXT.max_new_tokens),
    ],
)
def test_the_longest_that_was_really_asked_counts(own, base, prompt, answer):
    found = longest(own, [answers(TEXT, *base), answers(CHOICE, 0, 0, 0)])
    assert (found["tested.prompt"].value, found["tested.answer"].value) == (prompt, answer)


def test_without_suites_of_text_no_answer_was_tested_and_without_answers_nothing_was():
    choices = [answers(CHOICE, 0, 0, 0)]
    found = longest(choices, choices, suites=(CHOICE,))
    assert (found["tested.prompt"].value, found["tested.answer"].value) == (30, 0)
    assert {o.status for o in longest(None, choices).values()} == {Status.FAILED}
