"""Which cases are held back is no choice: a lucky one would leave out just what an adapter fails."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.errors import DocumentError, Door
from peft_assay.core.suite import Case
from peft_assay.observe.behaviour.statistics import lower_bound
from peft_assay.observe.suites.read import read_suite
from peft_assay.observe.suites.rotation import held_back, periods_in_force, quarter
from pipeline.certified_world import certified_world, copy_of

FLOOR = 0.7
"""Of the default policy."""
FAILED = 12
SUITE = """\
apiVersion: peft-assay/v1
kind: Suite
id: {id}
version: "1"
source: synthetic
confidentiality: public
scorer: {{kind: exact}}
holdBack: {hold}
"""
HOLD = "{share: 0.2, period: 2026-Q4}"


def cases(renamed=lambda name: name):
    return [{"id": renamed(f"c{n}"), "prompt": f"question {n}", "expected": f"answer {n}"} for n in range(60)]


def suite(written=None, hold=HOLD, name="task", comment=""):
    lines = "".join(json.dumps(case) + "\n" for case in (cases() if written is None else written))
    return read_suite((SUITE.format(id=name, hold=hold) + comment).encode(), lines.encode(), where="suite.yaml")


def asked(read):
    return {case.prompt for case in read.cases}


def bound(prompts):
    """What can be proved of an adapter that fails the first cases."""
    wrong = {f"question {n}" for n in range(FAILED)}
    return lower_bound(len(prompts - wrong), len(prompts))


def test_control_of_200_free_names_some_turn_fail_into_pass():
    every = suite(hold="null").cases
    assert bound({case.prompt for case in every}) < FLOOR, "judged on all cases, it fails"

    def by_name(rotation):
        ranked = sorted(every, key=lambda case: canonical_digest([rotation, case.id, repr(case.prompt)]))
        return {case.prompt for case in ranked[12:]}

    assert any(bound(by_name(f"r{n}")) >= FLOOR for n in range(200))


def test_nothing_that_is_free_to_change_has_a_say():
    first = asked(suite())
    assert len(first) == 48
    assert asked(suite(comment="# lucky\n")) == first
    assert asked(suite(name="other")) == first
    assert asked(suite(list(reversed(cases())))) == first
    for n in range(20):
        assert asked(suite(cases(lambda name, n=n: f"{name}-{n}"))) == first, "ids have no say"


def test_what_can_be_rewritten_without_another_question_has_no_say():
    every = suite(hold="null").cases
    first = held_back(every, 0.2, "2026-Q4")
    for n in range(20):
        spelt = [replace(case, prompt=f"  {str(case.prompt).upper()} ?{' !' * n}") for case in every]
        assert held_back(spelt, 0.2, "2026-Q4") == first, "letter case, white space, punctuation"
        example = [replace(case, expected=f"an example of an answer that passes {n}") for case in every]
        assert held_back(example, 0.2, "2026-Q4") == first, "where nothing is compared, it is free"
    chosen = [replace(case, choices=("a", "b", "c")) for case in every]
    assert held_back([replace(c, choices=("c", "a", "b")) for c in chosen], 0.2, "2026-Q4") == first
    asked_otherwise = [replace(case, prompt=f"{case.prompt} in the morning") for case in every]
    assert held_back(asked_otherwise, 0.2, "2026-Q4") != first, "another question is another case"


def test_texts_without_a_prompt_are_held_back_by_their_words():
    texts = [Case(f"c{n}", "", expected=f"a text about number {n}") for n in range(60)]
    first = held_back(texts, 0.2, "2026-Q4")
    assert len(first) == 12
    renamed = held_back([replace(case, id=f"z{60 - n}") for n, case in enumerate(texts)], 0.2, "2026-Q4")
    assert {f"c{60 - int(name[1:])}" for name in renamed} == first


def test_shares_are_nested_and_few():
    every, before = suite(hold="null").cases, frozenset()
    for share in (0.1, 0.2, 0.3, 0.4, 0.5):
        now = held_back(every, share, "2026-Q4")
        assert before < now
        assert len(now) == round(60 * share)
        before = now
    for share in ("0.21", "0.9", "0", "-0.1", "1"):
        with pytest.raises(DocumentError, match=r"holdBack.share: must be one of 0.1"):
            suite(hold=f"{{share: {share}, period: 2026-Q4}}")


@pytest.mark.parametrize("period", ["lucky", "2026-Q5", "2026-q4", "2026-Q4 ", "1999-Q4", "2026-12", "r17"])
def test_a_period_is_a_quarter(period):
    with pytest.raises(DocumentError, match=r"holdBack\.period"):
        suite(hold=f"{{share: 0.2, period: {json.dumps(period)}}}")


def test_an_old_document_is_told_what_to_write():
    for hold in ('{share: 0.2, rotation: "2026-Q4"}', "{share: 0.2, rotation: x, period: 2026-Q4}"):
        with pytest.raises(DocumentError, match="write period instead, the quarter in which you certify"):
            suite(hold=hold)


def test_the_quarter_is_the_clock_s():
    assert [quarter(datetime(2026, month, 1, tzinfo=UTC)) for month in (1, 3, 4, 9, 12)] == [
        "2026-Q1", "2026-Q1", "2026-Q2", "2026-Q3", "2026-Q4",
    ]  # fmt: skip
    assert periods_in_force(datetime(2026, 12, 1, tzinfo=UTC)) == ("2026-Q4",)
    assert periods_in_force(datetime(2027, 1, 20, tzinfo=UTC)) == ("2027-Q1", "2026-Q4")
    assert periods_in_force(datetime(2027, 2, 2, tzinfo=UTC)) == ("2027-Q1",)


@pytest.mark.sandbox
@pytest.mark.model
def test_another_quarter_is_refused_before_anything_runs(tmp_path):
    world = copy_of(certified_world(), tmp_path / "world")
    path = world.project / "suites" / "lookups" / "suite.yaml"
    path.write_text(path.read_text() + "holdBack: {share: 0.1, period: 2031-Q2}\n")
    done = world.run("certify", world.adapter("lora"))
    assert done.code == Door.USAGE, done
    assert "holds cases back for 2031-Q2, and it is 20" in done.err
    assert "write period: 20" in done.err
    assert world.run("certify", "--plan", world.adapter("lora")).code == Door.USAGE
