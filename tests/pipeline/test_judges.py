"""Judges as real programs: what they are given, what they may say, and how each failure is named."""

import os
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from peft_assay.core.digest import sha256
from peft_assay.core.judge import JudgeFailed
from peft_assay.core.suite import Case, Measure, Scorer, ScorerKind, Suite
from peft_assay.observe.behaviour.conduct import conduct_suite
from peft_assay.observe.behaviour.probes.suites import suite_observations
from peft_assay.pipeline.suites.judges import MAX_REPLY, judge_digests, judging_seconds, with_judges
from peft_assay.trust.anchor import JudgeProgram, TrustAnchor

PASSES = (
    "import json, sys; q = json.load(sys.stdin); print(json.dumps({'passed': 'right' in q['answer'], 'why': 'so'}))"
)


def suite_of(*cases, name="style"):
    scorer = Scorer(ScorerKind.JUDGE, judge=name)
    return Suite("free", "1", sha256(b"free"), Measure.GENERATE, scorer, cases, 8, None, "public", "t", None)


def anchor_with(*, timeout=20.0, environment=(), **programs):
    judges = {
        name: JudgeProgram((sys.executable, "-c", code), timedelta(seconds=timeout), tuple(environment))
        for name, code in programs.items()
    }
    return TrustAnchor({}, False, timedelta(days=1), timedelta(days=1), 10, judges)


def judge_of(code, **options):
    return with_judges([suite_of(Case("c", "p"))], anchor_with(style=code, **options))[0].judge


def ask(code, answer="right", **options):
    question = {"suite": "free", "case": "c", "prompt": "p", "expected": None, "answer": answer}
    return judge_of(code, **options).passes(question)


def test_it_is_given_the_question_and_its_verdict_counts():
    assert ask(PASSES)
    assert not ask(PASSES, answer="wrong")
    echo = "import json, sys; q = sys.stdin.read(); print(json.dumps({'passed': json.loads(q)['answer'] == '\\u202e\\x1b', 'why': q}))"
    assert ask(echo, answer="\u202e\x1b")


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("", "its reply is not"),
        ("print('yes')", "its reply is not"),
        ("print('{\"passed\": 1}')", "its reply is not"),
        ('print(\'{"passed": true, "passed": false}\')', "its reply is not"),
        ('print(\'{"passed": true, "more": 1}\')', "its reply is not"),
        ('print(\'{"passed": true}{"passed": true}\')', "its reply is not"),
        ("print('{\"passed\": NaN}')", "its reply is not"),
        ("import sys; print('{\"passed\": true}'); sys.exit(3)", "it ended with status 3"),
        (f"print('x' * {MAX_REPLY + 1})", "its reply is longer than"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "it ended with status -9"),
    ],
)
def test_whatever_else_it_says_is_its_own_failure(code, why):
    with pytest.raises(JudgeFailed, match=why) as caught:
        ask(code)
    assert caught.value.where == "judge style"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import time; time.sleep(60)", "it gave no reply in time"),
        (
            "import os, sys, time; print('{\"passed\": true}'); sys.stdout.flush(); os.close(1); time.sleep(60)",
            "did not end",
        ),
        ("import os, time\nif os.fork():\n    os._exit(0)\ntime.sleep(60)", "it gave no reply in time"),
    ],
)
def test_it_is_ended_with_all_that_it_started(code, why):
    began = time.monotonic()
    with pytest.raises(JudgeFailed, match=why):
        ask(code, timeout=2.0)
    assert time.monotonic() - began < 30


def test_it_meets_no_shell_and_only_the_environment_that_it_is_given(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "secret")
    monkeypatch.setenv("OTHER_KEY", "secret")
    told = "import json, os; print(json.dumps({'passed': 'JUDGE_KEY' in os.environ and 'OTHER_KEY' not in os.environ}))"
    assert ask(told, environment=["JUDGE_KEY"])
    assert not ask(told)


def test_a_program_that_is_not_there_is_named():
    anchor = TrustAnchor(
        {}, False, timedelta(1), timedelta(1), 10, {"style": JudgeProgram(("/no/judge",), timedelta(1), ())}
    )
    judge = with_judges([suite_of(Case("c", "p"))], anchor)[0].judge
    with pytest.raises(JudgeFailed, match="cannot be started: No such file"):
        judge.passes({})


def test_its_digest_is_of_command_and_content(tmp_path):
    script = tmp_path / "judge.py"

    def digest(content, *more):
        script.write_text(content)
        program = JudgeProgram((sys.executable, str(script), *more), timedelta(seconds=1), ())
        anchor = TrustAnchor({}, False, timedelta(1), timedelta(1), 10, {"style": program})
        return judge_digests(with_judges([suite_of()], anchor))["style"]

    assert digest("1") == digest("1")
    assert len({digest("1"), digest("2"), digest("1", "-x")}) == 3
    assert judge_digests([suite_of()]) == {}


def test_only_suites_that_name_it_get_it_and_its_time_is_counted():
    suites = with_judges(
        [suite_of(Case("a", "p"), Case("b", "q")), suite_of(name="other")], anchor_with(style=PASSES, timeout=5)
    )
    assert [suite.judge is not None for suite in suites] == [True, False]
    assert judging_seconds(suites) == 10.0


class Model:
    def ask(self, question):
        if question["op"] == "generate":
            empty = {"chosen": [], "best": [], "entropy": [], "ids": [], "logProbabilities": []}
            return {
                "op": "generate",
                "texts": ["right"] * len(question["prompts"]),
                "tokens": [[]] * len(question["prompts"]),
                "traces": [empty] * len(question["prompts"]),
            }
        raise AssertionError(question["op"])


def test_a_suite_whose_judge_fails_is_failed_whole_and_names_it():
    cases = tuple(Case(f"c{n}", f"p{n}") for n in range(3))
    good = with_judges([suite_of(*cases)], anchor_with(style=PASSES))[0]
    broken = with_judges([suite_of(*cases)], anchor_with(style="raise SystemExit(7)"))[0]
    whole, part = conduct_suite(Model().ask, good), conduct_suite(Model().ask, broken)
    assert (whole.passes, whole.complete, whole.unjudged) == (3, True, None)
    assert not part.complete
    assert "judge style: it ended with status 7" in part.unjudged
    assert {o.status.value for o in suite_observations(good, whole, whole)} == {"ok"}
    for own, base in ((part, whole), (whole, part)):
        seen = suite_observations(good, own, base)
        assert {(o.status.value, o.value, o.reason) for o in seen} == {("failed", None, part.unjudged)}


def test_nothing_is_left_running():
    marker = f"peft-assay-judge-{os.getpid()}"
    with pytest.raises(JudgeFailed):
        ask(
            f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', '{marker}']); time.sleep(60)",
            timeout=2.0,
        )
    time.sleep(0.2)
    running = [path for path in Path("/proc").glob("[0-9]*") if marker.encode() in _last_word(path)]
    assert running == []


def _last_word(process):
    """Of its command line; the marker is one, here it is only part of one."""
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return b""
    return words[3] if len(words) > 3 else b""


def test_variations_and_scales_ask_no_judge():
    from peft_assay.core.exercises import Exercises, Variation
    from peft_assay.observe.behaviour.interface import Plan, Records, Turn
    from peft_assay.observe.behaviour.probes.suites import SuitesProbe
    from peft_assay.observe.behaviour.probes.variation import VariationProbe

    judged = with_judges([suite_of(Case("c", "p"))], anchor_with(style="raise SystemExit(7)"))
    plan = Plan(judged, Exercises(variations=(Variation.FRAMING, Variation.SAMPLING)))
    own = Records()
    own.keep(SuitesProbe().ask(Turn(Model().ask, plan, own, None)))
    varied = VariationProbe().ask(Turn(Model().ask, plan, own, None))
    assert varied.answers == {"framing": {}, "sampling": {}}
